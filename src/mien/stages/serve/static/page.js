/* The web page: choose an image, send it to POST /predict/TASK, show the prediction.
   Knows no task by name: tasks come from GET /health, and a detection is drawn by its keys.
   feedback.js has the form for feedback. */

import { request } from "./key.js";
import { closeFeedback, openFeedback, pauseFeedback, labelText } from "./feedback.js";

const at = (id) => document.getElementById(id);
const [tasks, file, stage, prompt, canvas, camera] =
  ["tasks", "file", "stage", "prompt", "picture", "camera"].map(at);
const [answer, scores, facts, sample, webcam] =
  ["answer", "scores", "facts", "sample", "webcam"].map(at);

/* What the outcomes other than `ok` mean. */
const OUTCOMES = {
  no_face: "No face was detected in this image.",
  no_hand: "No hand was detected in this image.",
  unsure: "The model is not sure enough to answer.",
};
/* What a model was trained on. */
const ORIGINS = {
  synthetic: "drawings only (synthetic); it says little about real people",
  real: "real data",
  pretrained: "data of others (pretrained)",
};
/* The bones between the 21 points of a hand, counted from the wrist. */
const BONES = [
  [0, 1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [0, 17, 18, 19, 20],
  [0, 5, 9, 13, 17],
];

let picture = null; // { blob, image } of the shown image
let labels = {}; // of each task
let origins = {}; // of each task: what its model was trained on
let requests = 0; // the response to any but the newest request is dropped

/* ---- tasks ---- */

async function loadTasks() {
  const report = await (await fetch("health")).json().catch(() => ({ models: [] }));
  const chosen = task();
  labels = Object.fromEntries(report.models.map((model) => [model.task, model.labels]));
  origins = Object.fromEntries(report.models.map((model) => [model.task, ORIGINS[model.trained_on]]));
  tasks.querySelectorAll("label").forEach((label) => label.remove());
  for (const model of report.models) tasks.append(option(model, chosen));
  const first = tasks.querySelector("input:not(:disabled)");
  if (first && !task()) first.checked = true;
  sample.disabled = !task();
  if (report.models.some((model) => model.state === "loading")) setTimeout(loadTasks, 700);
  if (!picture) showMessage(report.detail ? problem("Not every model is ready", report.detail) : waiting());
}

function option(model, chosen) {
  const input = make("input", { type: "radio", name: "task", value: model.task, className: "hidden" });
  input.disabled = model.state !== "ready";
  input.checked = !input.disabled && model.task === chosen;
  input.addEventListener("change", () => picture && predict());
  const label = make("label", { title: model.reason ?? model.state });
  label.append(input, make("span", {}, model.task.replaceAll("_", " ")));
  return label;
}

const task = () => tasks.querySelector("input:checked")?.value;

/* ---- a new image ---- */

async function show(blob) {
  closeCamera();
  try {
    picture = { blob, image: await createImageBitmap(blob, { imageOrientation: "from-image" }) };
  } catch {
    picture = { blob, image: null }; // the server returns the reason
  }
  stage.classList.toggle("empty", !picture.image);
  prompt.hidden = Boolean(picture.image);
  canvas.hidden = !picture.image;
  draw([]);
  await predict();
}

async function predict() {
  const mine = ++requests;
  const form = new FormData();
  form.append("file", picture.blob, "picture");
  answer.setAttribute("aria-busy", "true");
  pauseFeedback();
  const start = performance.now();
  try {
    const response = await request(`predict/${task()}`, () => ({ method: "POST", body: form }));
    const document = await response.json();
    if (mine === requests) report(response.ok, document, performance.now() - start);
  } catch {
    if (mine === requests) report(false, { title: "The server does not respond", detail: "Is it still running?" });
  }
  answer.setAttribute("aria-busy", "false");
  answer.parentElement.scrollIntoView({ block: "nearest" });
}

/* ---- the prediction ---- */

function report(ok, result, milliseconds) {
  scores.replaceChildren();
  facts.replaceChildren();
  if (!ok) {
    draw([]);
    showMessage(problem(result.title, result.detail));
    return addFacts({ "Trace": result.trace_id });
  }
  draw(result.detections);
  const [name, label] = Object.entries(result)[0];
  const sure = label === null ? "" : `${percent(result.confidence)} confident. `;
  showMessage([
    make("p", { className: "label" }, labelText(label) ?? "No subject"),
    make("p", { className: "outcome" }, sure + (OUTCOMES[result.outcome] ?? "")),
  ]);
  openFeedback(result.trace_id, label, labels[name]);
  result.detections.forEach((detection, index) => {
    if (result.detections.length > 1) scores.append(make("p", { className: "subject" }, title(detection, index)));
    scores.append(bars(detection));
  });
  addFacts({
    "Hand": result.detections[0]?.handedness,
    "Time": `${milliseconds.toFixed(0)} ms, with the network`,
    "Model": `${result.model.name}, version ${result.model.version}`,
    "Trained on": origins[name],
    "Trace": result.trace_id,
  });
}

const percent = (share) => `${(100 * share).toFixed(share > 0.999 || share < 0.01 ? 2 : 1)} %`;
const title = (detection, index) => `${index + 1}. ${labelText(detection.label)}`;
const waiting = () => [make("p", { className: "quiet" }, "Waiting for an image.")];
const problem = (head, text) => [
  make("p", { className: "label fault" }, head), make("p", { className: "outcome" }, text),
];

function showMessage(parts) {
  closeFeedback(); // it belongs to the previous prediction
  answer.replaceChildren(...parts);
}

function bars(detection) {
  const list = make("ul", { className: "bars" });
  const sorted = Object.entries(detection.scores).sort((a, b) => b[1] - a[1]);
  for (const [label, score] of sorted) {
    const fill = make("i");
    fill.style.width = `${100 * score}%`;
    const track = make("span", { className: "track" });
    track.append(fill);
    const row = make("li");
    row.append(make("span", { className: label === detection.label ? "best" : "" }, labelText(label)), track,
      make("span", { className: "number" }, percent(score)));
    list.append(row);
  }
  return list;
}

function addFacts(named) {
  for (const [name, value] of Object.entries(named)) {
    if (value === undefined || value === null) continue;
    const valueElement = make("dd");
    valueElement.append(name === "Trace" ? make("code", {}, value) : String(value));
    facts.append(make("dt", {}, name), valueElement);
  }
}

/* ---- drawing ---- */

function draw(detections) {
  if (!picture?.image) return;
  const { width, height } = picture.image;
  const shown = Math.min(1, stage.clientWidth / width, (0.65 * innerHeight) / height) || 1;
  const scale = Math.max(shown, Math.min(stage.clientWidth / width, 320 / height));
  const sharp = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale * sharp);
  canvas.height = Math.round(height * scale * sharp);
  canvas.style.width = `${width * scale}px`;
  const pen = canvas.getContext("2d");
  pen.scale(scale * sharp, scale * sharp);
  pen.drawImage(picture.image, 0, 0);
  detections.forEach((detection, index) => drawDetection(pen, detection, index, 1 / scale, { width, height }));
  canvas.setAttribute("aria-label", detections.length
    ? `Your image with ${detections.map((detection) => labelText(detection.label)).join(", ")} marked`
    : "Your image");
}

function drawDetection(pen, detection, index, unit, size) {
  const strong = index === 0;
  pen.lineJoin = pen.lineCap = "round";
  if (detection.landmarks?.length === 21) drawHand(pen, detection.landmarks, unit);
  if (!detection.box) return;
  const [x1, y1, x2, y2] = detection.box;
  for (const [colour, width] of [["rgb(0 0 0 / 55%)", 5], [strong ? "#5fe3c7" : "#ffffff", 2.5]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width * unit;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  const text = `${labelText(detection.label)} ${percent(detection.confidence)}`;
  pen.font = `600 ${14 * unit}px system-ui, sans-serif`;
  const wide = pen.measureText(text).width + 14 * unit;
  const left = Math.max(0, Math.min(x1, size.width - wide));
  const top = y1 > 26 * unit ? y1 - 25 * unit : Math.min(y1 + 4 * unit, size.height - 24 * unit);
  pen.fillStyle = "rgb(8 33 27 / 88%)";
  pen.beginPath();
  pen.roundRect(left, top, wide, 22 * unit, 5 * unit);
  pen.fill();
  pen.fillStyle = "#ffffff";
  pen.fillText(text, left + 7 * unit, top + 16 * unit);
}

/* Landmarks are [x, y, z] in pixels of the image, as boxes are. */
function drawHand(pen, points, unit) {
  for (const [colour, width] of [["rgb(0 0 0 / 50%)", 4.5], ["#ffd166", 2.2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width * unit;
    for (const chain of BONES) {
      pen.beginPath();
      chain.forEach((number, step) => pen[step ? "lineTo" : "moveTo"](...points[number].slice(0, 2)));
      pen.stroke();
    }
  }
  for (const [x, y] of points) {
    pen.fillStyle = "#ffffff";
    pen.strokeStyle = "rgb(0 0 0 / 60%)";
    pen.lineWidth = unit;
    pen.beginPath();
    pen.arc(x, y, 3 * unit, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}

/* ---- camera ---- */

async function toggleCamera() {
  if (!camera.hidden) return snap();
  try {
    camera.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  } catch {
    return showMessage(problem("The camera cannot be used", "Allow it in the browser, or choose a file."));
  }
  canvas.hidden = prompt.hidden = true;
  camera.hidden = false;
  webcam.textContent = "Take a photo";
  await camera.play();
}

function snap() {
  const still = make("canvas", { width: camera.videoWidth, height: camera.videoHeight });
  still.getContext("2d").drawImage(camera, 0, 0);
  still.toBlob((blob) => blob && show(blob), "image/jpeg", 0.92);
}

function closeCamera() {
  camera.srcObject?.getTracks().forEach((track) => track.stop());
  camera.srcObject = null;
  camera.hidden = true;
  webcam.textContent = "Use the camera";
}

/* ---- wiring ---- */

function make(tag, properties = {}, text = "") {
  const element = Object.assign(document.createElement(tag), properties);
  if (text) element.textContent = text;
  return element;
}

file.addEventListener("change", () => {
  if (file.files[0]) show(file.files[0]);
  file.value = ""; // so that the same file can be chosen again
});
sample.addEventListener("click", async () => show(await (await fetch(`sample/${task()}`)).blob()));
webcam.hidden = !navigator.mediaDevices?.getUserMedia;
webcam.addEventListener("click", toggleCamera);
for (const kind of ["dragenter", "dragover"]) {
  stage.addEventListener(kind, (event) => { event.preventDefault(); stage.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) {
  stage.addEventListener(kind, (event) => { event.preventDefault(); stage.classList.remove("over"); });
}
stage.addEventListener("drop", (event) => event.dataTransfer.files[0] && show(event.dataTransfer.files[0]));
document.addEventListener("paste", (event) => event.clipboardData?.files[0] && show(event.clipboardData.files[0]));
loadTasks();
