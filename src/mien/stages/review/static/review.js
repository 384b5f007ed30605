/* The review: one sample after the other, each label by one key. */

import { at, make, percent, say, showTrouble, words } from "./dom.js";
import { draw } from "./drawing.js";

const MAX_SIDE = 420;
const KEY_NAME = "mien-review-key";
let queue = null; // as queue.json has it
let waiting = []; // trace_ids, the most valuable first
let history = []; // trace_ids that were reviewed, the last one last
let sample = null; // as sample.json has it; null while it loads

/* The key comes behind # of the address, once; the address is then shown without it. */
function readKey() {
  if (location.hash.length > 1) {
    sessionStorage.setItem(KEY_NAME, location.hash.slice(1));
    window.history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY_NAME) ?? "";
}

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${readKey()}` };
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(30000),
  });
  const document = await response.json();
  if (!response.ok) throw new Error(document.detail);
  return document;
}

/* Runs a step and shows why it failed. */
async function attempt(step) {
  showTrouble(at("trouble"), "");
  try {
    await step();
  } catch (error) {
    showTrouble(at("trouble"), error.message);
  }
}

async function openQueue(task) {
  const opened = await ask(`queue.json${task ? `?task=${encodeURIComponent(task)}` : ""}`);
  queue = opened;
  waiting = opened.entries.map((each) => each.trace_id);
  history = [];
  showTasks();
  showChoices();
  await showNext();
}

function showTasks() {
  at("tasks").replaceChildren(...queue.tasks.map((task) => {
    const link = make("a", { href: "#", onclick: (event) => {
      event.preventDefault();
      attempt(() => openQueue(task));
    } }, words(task));
    if (task === queue.task) link.setAttribute("aria-current", "page");
    return link;
  }));
}

function showChoices() {
  at("labels").replaceChildren(...queue.labels.map((label, number) => {
    const key = queue.keys[number];
    const button = make("button", { type: "button", onclick: () => decide("label", label) });
    if (key) {
      button.setAttribute("aria-keyshortcuts", key);
      button.append(make("kbd", {}, key));
    }
    button.append(words(label));
    button.dataset.label = label;
    return button;
  }));
}

async function showNext() {
  sample = null;
  at("undo").disabled = history.length === 0;
  at("undo_last").hidden = history.length === 0;
  at("review").hidden = waiting.length === 0;
  at("done").hidden = waiting.length > 0;
  if (!waiting.length) {
    showProgress();
    say("Everything is reviewed");
    await showAgreement();
    return;
  }
  at("agreement").hidden = true;
  const opened = queue; // another task may be chosen while the sample loads
  const next = await ask(`sample.json?task=${queue.task}&trace_id=${waiting[0]}`);
  if (queue === opened) await show(next);
  if (queue !== opened) return;
  sample = next;
  showProgress();
}

/* When keys are taken again. */
function showProgress() {
  const done = queue.reviewed + history.length;
  at("progress").textContent = `${queue.reviewer}: ${done} reviewed, ${waiting.length} to go`;
}

async function show(next) {
  const size = { width: next.width, height: next.height };
  const image = next.picture ? await picture(next.picture) : null;
  const landmarks = next.points.map(([x, y]) => [x, y, 0]);
  const box = { width: Math.min(MAX_SIDE, at("review").clientWidth - 40), height: MAX_SIDE };
  draw(at("drawing"), image, size, box, [{ outcome: "ok", detections: [{ landmarks, box: null }] }]);
  at("drawing").setAttribute("aria-label", next.picture ? "The subject of a picture" : "A hand, drawn from its landmarks");
  const when = new Date(1000 * next.timestamp).toLocaleString();
  at("caption").textContent = `${when}, version ${next.version}: ${next.reasons.map(words).join(", ")}`;
  const share = next.suggestion === null ? "" : ` (${percent(next.scores[next.suggestion])})`;
  const guess = next.suggestion === null ? "nothing" : `${words(next.suggestion)}${share}`;
  const feedback = next.reasons.includes("wrong")
    ? ` Feedback: ${next.feedback === null ? "nothing to be seen" : words(next.feedback)}.` : "";
  at("suggestion").textContent = `Version ${next.suggested_by} suggests ${guess}. Enter accepts it.${feedback}`;
  for (const button of at("labels").children) {
    button.classList.toggle("suggested", button.dataset.label === next.suggestion);
  }
  say(`Suggested: ${guess}. ${waiting.length} to go.`);
}

function picture(base64) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("The picture of the sample cannot be shown."));
    image.src = `data:image/png;base64,${base64}`;
  });
}

/* Stores a verdict on the sample that is shown; nothing while one loads. */
function decide(verdict, label = null) {
  if (!sample) return;
  const current = sample;
  const { trace_id } = current;
  sample = null;
  attempt(async () => {
    try {
      await ask("label.json", { task: queue.task, trace_id, verdict, label });
    } catch (error) {
      sample = current;
      throw error;
    }
    waiting.shift();
    history.push(trace_id);
    await showNext();
  });
}

function undo() {
  if (!history.length || (waiting.length && !sample)) return;
  sample = null;
  attempt(async () => {
    const trace_id = history.at(-1);
    await ask("label.json", { task: queue.task, trace_id, verdict: "undo" });
    history.pop();
    waiting.unshift(trace_id);
    await showNext();
  });
}

async function showAgreement() {
  const report = await ask(`agreement.json?task=${queue.task}`);
  const [list, note] = at("agreement").querySelectorAll("ul, p");
  list.replaceChildren(...report.pairs.map(({ one, other, samples, observed, kappa }) => make("li", {},
    `${one} and ${other}: ${percent(observed)} of ${samples} samples, Cohen's kappa ${kappa === null ? "not defined" : kappa.toFixed(2)}`)));
  note.textContent = `All reviewers agree on ${report.agreed} samples; ${report.disputed} are disputed.`;
  at("agreement").hidden = false;
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const onButton = event.target.closest?.("button, a");
  const key = event.key.toLowerCase();
  if (key === "u") return undo();
  if (!sample) return;
  if (key === "s") return decide("skip");
  if (key === "n") return decide("nothing");
  if (key === "enter" && !onButton && sample.suggestion !== null) return decide("label", sample.suggestion);
  const number = queue.keys.indexOf(key);
  if (number >= 0) decide("label", queue.labels[number]);
});
at("nothing").onclick = () => decide("nothing");
at("skip").onclick = () => decide("skip");
at("undo").onclick = at("undo_last").onclick = undo;

attempt(() => openQueue(""));
