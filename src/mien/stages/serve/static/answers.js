/* Shows the answer of one task: label, confidence, outcome in words, bars. */

import { copyOf, make, percent, words } from "./dom.js";
import { openFeedback } from "./feedback.js";
import { examples } from "./examples.js";

/* What the outcomes other than `ok` mean. */
const OUTCOMES = {
  no_face: "No face was detected.",
  no_hand: "No hand was detected.",
  unsure: "This is the model's best guess.",
};
/* Why an answer is `unsure`. */
const REASONS = {
  low_confidence: "Too little confidence.",
  unlike_training: "Unlike all that the model learned from.",
};
/* What a model was trained on. */
const ORIGINS = {
  synthetic: "drawings only (synthetic); it says little about real people",
  real: "real data",
  pretrained: "data of others (pretrained)",
};
const TOP = 5;

export const outcomeText = (outcome, reason) =>
  [REASONS[reason], OUTCOMES[outcome]].filter(Boolean).join(" ");
export const labelOf = (answer) => Object.values(answer)[0];

/* One sentence about an answer, for people who do not see the page. */
export function sentence(task, answer) {
  const label = labelOf(answer);
  const text = label === null ? "" : ` ${words(label)}, ${percent(answer.confidence)}.`;
  return `${words(task)}:${text} ${outcomeText(answer.outcome, answer.unsure_reason)}`.trim();
}

export function makeAnswer(task) {
  const part = copyOf("answer_template");
  part.querySelector("h2").textContent = words(task);
  part.dataset.task = task;
  return part;
}

/* Fills a part of `makeAnswer`. `file` is the name of the picture in the examples. */
export function showAnswer(part, model, answer, file, milliseconds) {
  const label = labelOf(answer);
  showLabel(part, label, answer);
  const scores = part.querySelector(".scores");
  answer.detections.forEach((detection, index) => {
    const title = `${index + 1}. ${words(detection.label)}, ${percent(detection.confidence)}`;
    if (answer.detections.length > 1) scores.append(make("p", { className: "subject" }, title));
    scores.append(bars(detection.scores, detection.label, index ? 2 : TOP));
  });
  openFeedback(part.querySelector("form"), answer.trace_id, label, model.labels);
  part.querySelector("details").hidden = false;
  part.querySelector(".code").append(...examples(model.task, file, answer));
  addFacts(part.querySelector(".facts"), {
    "Time": `${milliseconds.toFixed(0)} ms, with the network`,
    "Model": `${answer.model.name}, version ${answer.model.version}`,
    "Trained on": ORIGINS[model.trained_on],
    "Trace": answer.trace_id,
  });
}

export function showLabel(part, label, { confidence, outcome, unsure_reason: reason }) {
  part.querySelector(".label").textContent =
    label === null ? "–" : `${words(label)}${outcome === "unsure" ? "?" : ""}`;
  const sure = label === null ? "" : `${percent(confidence)} confident. `;
  part.querySelector(".outcome").textContent = sure + outcomeText(outcome, reason);
}

export function showProblem(part, problem) {
  const label = part.querySelector(".label");
  label.classList.add("fault");
  label.textContent = problem.title;
  part.querySelector(".outcome").textContent = problem.detail ?? "";
}

/* The best scores as bars. */
export function bars(scores, best, count) {
  const list = make("ul", { className: "bars" });
  const sorted = Object.entries(scores).sort((a, b) => b[1] - a[1]).slice(0, count);
  for (const [label, score] of sorted) {
    const fill = make("i");
    fill.style.width = `${100 * score}%`;
    const track = make("span", { className: "track" });
    track.append(fill);
    const row = make("li");
    row.append(make("span", { className: label === best ? "best" : "" }, words(label)), track,
      make("span", { className: "number" }, percent(score)));
    list.append(row);
  }
  return list;
}

function addFacts(list, facts) {
  for (const [name, value] of Object.entries(facts)) {
    if (value === undefined) continue;
    const part = make("dd");
    part.append(name === "Trace" ? make("code", {}, value) : value);
    list.append(make("dt", {}, name), part);
  }
}
