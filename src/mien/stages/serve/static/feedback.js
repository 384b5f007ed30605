/* "Is this correct?": sends the true label of the shown prediction to POST /feedback.
   Gets the prediction and the labels of its task; knows no task by name and no image. */

import { request } from "./key.js";

const at = (id) => document.getElementById(id);
const [form, question, yes, trueLabel, status] =
  ["feedback", "question", "yes", "true_label", "status"].map(at);

let shown = null; // { trace, label, count } of the shown prediction; count of its feedbacks
let queue = Promise.resolve(); // one request after the other, so that the last one wins

/* ---- for the page ---- */

export const labelText = (label) => label?.replaceAll("_", " ");

export function openFeedback(trace, label, labels) {
  shown = { trace, label, count: 0 };
  const others = [...labels, null].filter((other) => other !== label);
  trueLabel.replaceChildren(new Option("Choose", ""), ...others.map(option));
  status.textContent = "";
  question.disabled = form.hidden = false;
}

/* While the shown prediction is still that of an earlier image. */
export function pauseFeedback() {
  question.disabled = true;
}

export function closeFeedback() {
  shown = null;
  form.hidden = true;
}

/* ---- one feedback ---- */

function submit(label) {
  const mine = shown;
  const number = ++mine.count;
  status.textContent = "Sending";
  queue = queue.then(() => send(mine.trace, label)).then((message) => {
    if (mine === shown && number === mine.count) status.textContent = message;
  });
}

/* Returns the message to show, and never throws, so that the queue goes on. */
async function send(trace, label) {
  try {
    const response = await request("feedback", () => ({
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ trace_id: trace, label }),
      signal: AbortSignal.timeout(10_000),
    }));
    const document = await response.json();
    return response.ok ? `Thank you, stored: ${named(label)}.` : `Not stored. ${document.detail}`;
  } catch {
    return "Not stored. The server does not respond. Is it still running?";
  }
}

const named = (label) => labelText(label) ?? "no subject";
/* The value is JSON, so that no label is mistaken for null. */
const option = (label) => new Option(named(label), JSON.stringify(label));

/* ---- wiring ---- */

yes.addEventListener("click", () => {
  trueLabel.value = "";
  submit(shown.label);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit(JSON.parse(trueLabel.value));
});
