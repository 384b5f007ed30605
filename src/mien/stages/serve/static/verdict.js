/* "Is this right?": sends what a person says of the answer that is shown to POST /feedback.
   It is told the answer and the labels of its task; it knows no task by name and no picture. */

import { request } from "./key.js";

const at = (id) => document.getElementById(id);
const [form, question, yes, truth, kept] = ["verdict", "question", "yes", "truth", "kept"].map(at);

let judged = null; // { trace, label, verdicts } of the answer that is shown
let queue = Promise.resolve(); // one is sent after the other, so that the last one stays

/* ---- for the page ---- */

export const words = (label) => label?.replaceAll("_", " ");

export function openVerdict(trace, label, labels) {
  judged = { trace, label, verdicts: 0 };
  const others = [...labels, null].filter((other) => other !== label);
  truth.replaceChildren(new Option("Choose", ""), ...others.map(option));
  kept.textContent = "";
  question.disabled = form.hidden = false;
}

/* For the time in which the answer is still the one to an earlier question. */
export function pauseVerdict() {
  question.disabled = true;
}

export function closeVerdict() {
  judged = null;
  form.hidden = true;
}

/* ---- one verdict ---- */

function judge(label) {
  const mine = judged;
  const number = ++mine.verdicts;
  kept.textContent = "Sending";
  queue = queue.then(() => send(mine.trace, label)).then((told) => {
    if (mine === judged && number === mine.verdicts) kept.textContent = told;
  });
}

/* Gives the sentence to show, and never throws: the queue goes on. */
async function send(trace, label) {
  try {
    const response = await request("feedback", () => ({
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ trace_id: trace, label }),
      signal: AbortSignal.timeout(10_000),
    }));
    const document = await response.json();
    return response.ok ? `Thank you, kept: ${named(label)}.` : `Not kept. ${document.detail}`;
  } catch {
    return "Not kept. The server does not answer. Is it still running?";
  }
}

const named = (label) => words(label) ?? "nothing to be seen";
/* The value is JSON, so that no label can be mistaken for null. */
const option = (label) => new Option(named(label), JSON.stringify(label));

/* ---- wiring ---- */

yes.addEventListener("click", () => {
  truth.value = "";
  judge(judged.label);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  judge(JSON.parse(truth.value));
});
