/* Pictures by drop, paste and choice: each is sent to every task of the server, and shown with
   what was found drawn on it. */

import { request } from "./key.js";
import { makeAnswer, sentence, showAnswer, showProblem } from "./answers.js";
import { at, copyOf, make, say } from "./dom.js";
import { draw } from "./drawing.js";

const [file, drop, sample, results] = ["file", "drop", "sample", "results"].map(at);
const MAX_PICTURES = 40;
const MAX_HEIGHT = 0.6; // of the window, for a picture

let models = [];
let queue = Promise.resolve(); // one picture after the other, so that the server is not flooded

export function setPictureModels(ready) {
  models = ready;
  sample.disabled = !ready.length;
}

/* ---- pictures ---- */

function add(blobs) {
  const asked = blobs.slice(0, MAX_PICTURES).map((blob) => [blob, makeResult(blob)]);
  results.prepend(...asked.map(([, card]) => card));
  while (results.children.length > MAX_PICTURES) results.lastElementChild.remove();
  if (blobs.length > MAX_PICTURES) {
    const advice = `The page shows ${MAX_PICTURES} pictures; mien batch answers whole folders.`;
    results.prepend(make("p", { className: "quiet" }, advice));
  }
  for (const [blob, card] of asked) queue = queue.then(() => answerPicture(blob, card));
}

function makeResult(blob) {
  const card = copyOf("result_template");
  card.setAttribute("aria-label", blob.name ?? "pasted picture");
  card.querySelector("figcaption").textContent = blob.name ?? "pasted picture";
  card.querySelector("canvas").hidden = true;
  return card;
}

async function answerPicture(blob, card) {
  if (!card.isConnected) return;
  const own = models;
  const parts = own.map((model) => makeAnswer(model.task));
  card.querySelector(".answers").replaceChildren(...parts);
  // An image that this browser cannot show may still be one that the server reads.
  const image = await createImageBitmap(blob, { imageOrientation: "from-image" }).catch(() => null);
  show(card, image, []);
  const answers = await Promise.all(own.map((model) => ask(model.task, blob)));
  const problem = answers[0]?.problem;
  if (problem && answers.every((answer) => answer.problem?.title === problem.title)) {
    parts.slice(1).forEach((part) => part.remove());
    parts[0].querySelector("h2").remove();
  }
  answers.forEach((each, index) => {
    if (each.problem) showProblem(parts[index], each.problem);
    else showAnswer(parts[index], own[index], each.answer, blob.name ?? "picture.png", each.milliseconds);
  });
  show(card, image, answers.map((each) => each.answer ?? { detections: [] }));
  card.setAttribute("aria-busy", "false");
  say(answers.map((each, index) => each.problem
    ? [each.problem.title, each.problem.detail].join(". ")
    : sentence(own[index].task, each.answer)).join(" "));
}

/* { answer, milliseconds }, or { problem }. */
async function ask(task, blob) {
  const form = new FormData();
  form.append("file", blob, "picture");
  const start = performance.now();
  try {
    const response = await request(`predict/${task}`, () => ({ method: "POST", body: form }));
    const document = await response.json();
    if (!response.ok) return { problem: document };
    return { answer: document, milliseconds: performance.now() - start };
  } catch {
    return { problem: { title: "The server does not respond", detail: "Is it still running?" } };
  }
}

function show(card, image, answers) {
  const canvas = card.querySelector("canvas");
  canvas.hidden = !image;
  if (!image) return;
  const box = { width: canvas.parentElement.clientWidth || 480, height: MAX_HEIGHT * innerHeight };
  draw(canvas, image, image, box, answers);
  const marked = answers.flatMap((answer) => answer.detections).map((each) => each.label);
  const name = card.getAttribute("aria-label");
  canvas.setAttribute("aria-label", marked.length ? `${name} with ${marked.join(", ")} marked` : name);
}

async function addDrawings() {
  const blobs = models.map(async (model) => {
    const blob = await (await fetch(`sample/${model.task}`)).blob();
    return new File([blob], `${model.task}.png`, { type: blob.type });
  });
  add(await Promise.all(blobs));
}

/* ---- wiring ---- */

const pictures = (transfer) => [...(transfer?.files ?? [])];

file.addEventListener("change", () => {
  add([...file.files]);
  file.value = ""; // so that the same file can be chosen again
});
sample.addEventListener("click", addDrawings);
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
}
document.addEventListener("drop", (event) => receive(event.dataTransfer));
document.addEventListener("paste", (event) => receive(event.clipboardData));

function receive(transfer) {
  if (!pictures(transfer).length) return;
  location.hash = "picture";
  add(pictures(transfer));
}
