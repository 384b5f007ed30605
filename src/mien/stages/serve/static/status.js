/* The page /status: shows GET /status.json, and again every few seconds. */

import { outcomeText } from "./answers.js";
import { at, copyOf, make, percent, showTrouble, words } from "./dom.js";

const [trouble, tasks, read] = ["trouble", "tasks", "read"].map(at);
const INTERVAL_MS = 5000;

async function refresh() {
  try {
    const response = await fetch("status.json");
    const document = await response.json();
    if (response.ok) show(document.models);
    else showTrouble(trouble, document.title, document.detail);
  } catch {
    showTrouble(trouble, "The server does not respond", "Is it still running?");
  }
  setTimeout(refresh, document.hidden ? 4 * INTERVAL_MS : INTERVAL_MS);
}

function show(models) {
  showTrouble(trouble, "");
  tasks.replaceChildren(...models.map(card));
  read.textContent = `Read at ${new Date().toLocaleTimeString()}.`;
}

function card(model) {
  const part = copyOf("task_template");
  part.querySelector("h2").textContent = words(model.task);
  const numbers = part.querySelector(".numbers");
  const total = model.answers.reduce((sum, each) => sum + each.count, 0);
  const latency = model.latency;
  const text = model.version ? `version ${model.version}` : model.state;
  addNumber(numbers, "Model", text, { fault: !model.version });
  addNumber(numbers, "Trained on", model.trained_on ?? "–");
  if (model.reason) addNumber(numbers, "Problem", model.reason, { fault: true });
  addNumber(numbers, "Answers", total.toLocaleString());
  addNumber(numbers, "Camera frames", model.frames.toLocaleString());
  addNumber(numbers, "Latency p50", latency ? `${latency.p50_ms} ms` : "–");
  addNumber(numbers, "Latency p95", latency ? `${latency.p95_ms} ms` : "–");
  addNumber(numbers, "Drift", ...drift(model.drift));
  addNumber(numbers, "Live accuracy", ...accuracy(model.live));
  addNumber(numbers, "Estimated accuracy", ...estimated(model.estimated));
  part.querySelector(".bars").append(...model.answers.map((each) => bar(each, total)));
  return part;
}

function addNumber(list, title, text, { fault = false, note = "" } = {}) {
  const pair = make("div"), value = make("dd", { className: fault ? "fault" : "" }, text);
  if (note) value.append(make("small", {}, note));
  pair.append(make("dt", {}, title), value);
  list.append(pair);
}

function drift(state) {
  if (!state) return ["–", { note: "no validation data" }];
  if (state.rows < state.needed) return ["–", { note: `${state.rows} of ${state.needed} answers` }];
  if (!state.drifting.length) return ["none", { note: `of ${state.rows} answers` }];
  return [state.drifting.map(words).join(", "), { fault: true }];
}

function accuracy(live) {
  if (!live) return ["cannot be read", { fault: true }];
  if (!live.samples) return ["–", { note: "no feedback" }];
  const interval = `${percent(live.lower)} to ${percent(live.upper)}`;
  return [percent(live.accuracy), { note: `of ${live.samples} feedbacks (${interval})` }];
}

function estimated(state) {
  if (!state) return ["–"];
  if (state.accuracy === null) return ["–", { note: state.reason }];
  const interval = `${percent(state.lower)} to ${percent(state.upper)}`;
  return [percent(state.accuracy), { note: `of ${state.answers} answers, without labels (${interval})` }];
}

function bar({ label, outcome, count }, total) {
  const name = label === null ? outcomeText(outcome) : `${words(label)}${outcome === "unsure" ? " (unsure)" : ""}`;
  const fill = make("i");
  fill.style.width = `${100 * count / total}%`;
  const track = make("span", { className: "track" });
  track.append(fill);
  const row = make("li");
  row.append(make("span", {}, name), track, make("span", { className: "number" }, String(count)));
  return row;
}

refresh();
