/* Training in the studio: what is missing, progress and log, the result, keep and export. */

import { at, make, percent, say, words } from "./dom.js";
import { ask, save } from "./studio_requests.js";

const [missing, begin, report, progress, log] =
  ["missing", "start_training", "training_state", "progress", "log"].map(at);
const [result, verdict, doubts, kept] = ["result", "verdict", "doubts", "kept"].map(at);
const POLL_MS = 400;

let refresh = () => {};
let polling = false;
let last = ""; // state of the training that was shown last

export function showTraining(state, again) {
  refresh = again;
  const { training, refusals, warnings } = state;
  const running = training.state === "running";
  fill(missing, [...refusals, ...warnings]);
  begin.disabled = running || refusals.length > 0;
  for (const id of ["keep", "save_model"]) at(id).disabled = running || !state.result;
  showProgress(training, running);
  if (state.result) showResult(state.result);
  if (last === "running" && !running) say(report.textContent);
  last = training.state;
  if (running && !polling) poll();
}

async function poll() {
  polling = true;
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  polling = false;
  await refresh();
}

function showProgress(training, running) {
  progress.hidden = !running;
  if (running && training.total) progress.value = training.step / training.total;
  else progress.removeAttribute("value");
  log.hidden = !training.log.length;
  log.textContent = training.log.join("\n");
  log.scrollTop = log.scrollHeight;
  const model = training.model_seconds.toFixed(0);
  report.classList.toggle("fault", training.state === "failed");
  report.textContent = {
    idle: "",
    running: training.model_seconds
      ? `The model answers after ${model} s. Its report is being written: ${training.doing}`
      : `${training.seconds.toFixed(0)} s: ${training.doing}`,
    done: `Trained in ${model} s; the report was whole after ${training.seconds.toFixed(0)} s.`,
    failed: training.model_seconds
      ? `The model answers, but its report could not be written. ${training.error}`
      : `The training failed. ${training.error}`,
  }[training.state];
}

function showResult(model) {
  result.hidden = false;
  verdict.textContent =
    `${percent(model.accuracy)} of ${model.samples} test samples are right, ` +
    `by ${words(model.candidates.find((each) => each.chosen).name)}. Version ${model.version}.`;
  fill(doubts, model.doubts);
  const none = model.confusion.some((row) => row.at(-1) > 0);
  const answers = none ? [...model.labels, "no hand"] : model.labels;
  table("confusion", "Rows: what was shown. Columns: the answer", ["", ...answers], model.labels.map(
    (label, index) => [label, ...model.confusion[index].slice(0, answers.length)],
  ), (row, column) => column > 0 && (row === column - 1 ? "right" : "wrong"));
  table("scores", "By class", ["class", "precision", "recall", "samples"], model.classes.map(
    (each) => [each.label, percent(each.precision), percent(each.recall), each.samples],
  ));
  table("candidates", "Classifiers, macro-F1", ["classifier", "val", "test"], model.candidates.map(
    (each) => [words(each.name) + (each.chosen ? " (chosen)" : ""), each.val.toFixed(3), each.test.toFixed(3)],
  ));
}

function fill(list, texts) {
  list.replaceChildren(...texts.map((text) => make("li", {}, text)));
}

/* `kind(row, column)` may name a class of a cell that is not 0. */
function table(id, caption, heads, rows, kind = () => "") {
  const head = make("tr");
  head.append(...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((cells, row) => {
    const line = make("tr");
    line.append(...cells.map((cell, column) => {
      const name = cell === 0 ? "" : kind(row, column) || "";
      return column ? make("td", { className: name }, String(cell)) : make("th", { scope: "row" }, cell);
    }));
    return line;
  });
  at(id).replaceChildren(make("caption", {}, caption), head, ...body);
}

begin.addEventListener("click", async () => {
  kept.textContent = "";
  begin.disabled = true;
  await ask("POST", "train");
  await refresh();
});
at("keep").addEventListener("click", async () => {
  kept.textContent = "The model is being registered.";
  const answer = await ask("POST", "keep");
  kept.textContent = answer?.summary ?? "";
});
at("save_model").addEventListener("click", () => save("model.zip"));
