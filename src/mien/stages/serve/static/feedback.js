/* "Is this correct?": sends the true label of an answer to POST /feedback.
   Gets the answer and the labels of its task; knows no task by name and no image. */

import { request } from "./key.js";
import { words } from "./dom.js";

let queue = Promise.resolve(); // one request after the other, so that the last one wins

export function openFeedback(form, trace, label, labels) {
  const select = form.querySelector("select");
  const others = [...labels, null].filter((other) => other !== label);
  select.replaceChildren(new Option("choose", ""), ...others.map(option));
  form.querySelector(".yes").addEventListener("click", () => {
    select.value = "";
    submit(form, trace, label);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(form, trace, JSON.parse(select.value));
  });
  form.hidden = false;
}

function submit(form, trace, label) {
  const status = form.querySelector("[role=status]");
  const number = form.dataset.sent = Number(form.dataset.sent ?? 0) + 1;
  status.textContent = "Sending";
  queue = queue.then(() => send(trace, label)).then((message) => {
    if (number === Number(form.dataset.sent)) status.textContent = message;
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

const named = (label) => words(label) ?? "no subject";
/* The value is JSON, so that no label is mistaken for null. */
const option = (label) => new Option(named(label), JSON.stringify(label));
