/* The camera: frames go to every task of the server, one frame at a time; what the server must
   know of the video to track a hand comes with each answer and goes back with the next frame. */

import { bars, showLabel, outcomeText, labelOf, makeAnswer } from "./answers.js";
import { at, make, say, showTrouble, words } from "./dom.js";
import { draw } from "./drawing.js";
import { request } from "./key.js";
import { Steady } from "./steady.js";
import { FRAME_HEADER, cameraReason, newFrame, noCamera, openCamera, takeFrame } from "./video.js";

const [preview, overlay, idle, stage] = ["preview", "overlay", "idle", "stage"].map(at);
const [start, stop, choice, cameras, mirror] = ["start", "stop", "choice", "cameras", "mirror"].map(at);
const [speed, trouble, computed, live] = ["speed", "camera_trouble", "computed", "live_answers"].map(at);
const RETRY_MS = 1000;

let models = [];
let session = null; // of the running camera: { stream, tasks, times }
let changes = 0; // starts and stops: a camera that is allowed after the next one is switched off

export function setCameraModels(ready) {
  models = ready;
  computed.textContent = ready.map((model) => words(model.task)).join(" and ");
  start.disabled = !ready.length || !navigator.mediaDevices;
}

/* ---- start and stop ---- */

async function startCamera() {
  stopCamera();
  showTrouble(trouble, "");
  const number = changes;
  const device = cameras.value ? { deviceId: { exact: cameras.value } } : { facingMode: "user" };
  let stream;
  try {
    stream = await openCamera(device);
  } catch (error) {
    if (number !== changes) return;
    return showTrouble(trouble, cameraReason(error));
  }
  if (number !== changes) return stream.getTracks().forEach((track) => track.stop());
  const parts = models.map((model) => makeAnswer(model.task));
  live.replaceChildren(...parts);
  const tasks = models.map((model, index) => (
    { name: model.task, part: parts[index], frame: "first", steady: new Steady() }
  ));
  const own = session = { stream, tasks, times: [] };
  stream.getVideoTracks()[0].addEventListener("ended", () => own === session && lost());
  preview.srcObject = stream;
  setRunning(true);
  await listCameras(stream);
  await answerFrames(own);
}

export function stopCamera() {
  changes += 1;
  session?.stream.getTracks().forEach((track) => track.stop());
  session = null;
  preview.srcObject = null;
  setRunning(false);
}

function lost() {
  stopCamera();
  showTrouble(trouble, "The camera is gone. Connect it, then start again.");
}

function setRunning(running) {
  start.hidden = running;
  stop.hidden = !running;
  idle.hidden = running;
  preview.hidden = overlay.hidden = speed.hidden = !running;
}

async function listCameras(stream) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const own = devices.filter((device) => device.kind === "videoinput");
  const settings = stream.getVideoTracks()[0].getSettings();
  cameras.replaceChildren(...own.map((device, index) => (
    new Option(device.label || `Camera ${index + 1}`, device.deviceId)
  )));
  cameras.value = settings.deviceId;
  choice.hidden = own.length < 2;
  if (settings.facingMode === "environment") mirror.checked = false;
  turnPreview();
}

/* ---- frames ---- */

async function answerFrames(own) {
  while (own === session) {
    await newFrame(preview);
    if (own !== session) return;
    const frame = await takeFrame(preview);
    if (!frame) continue;
    const answers = await Promise.all(own.tasks.map((task) => ask(task, frame.blob)));
    if (own !== session) return;
    const problem = answers.find((answer) => answer.problem)?.problem;
    showTrouble(trouble, problem?.title, problem?.detail);
    if (problem) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    else showFrame(own, frame, answers);
  }
}

async function ask(task, blob) {
  try {
    const response = await request(`predict/${task.name}`, () => ({
      method: "POST",
      headers: { "Content-Type": "image/jpeg", [FRAME_HEADER]: task.frame },
      body: blob,
    }));
    const document = await response.json();
    task.frame = response.headers.get(FRAME_HEADER) ?? "first";
    return response.ok ? document : { problem: document };
  } catch {
    return { problem: { title: "The server does not respond", detail: "Is it still running?" } };
  }
}

/* ---- answers ---- */

function showFrame(own, { size }, answers) {
  const steady = answers.map((answer, index) => showSteady(own.tasks[index], answer));
  const box = { width: stage.clientWidth, height: stage.clientHeight };
  draw(overlay, null, size, box, steady, mirror.checked);
  showSpeed(own);
}

/* Shows what the last frames agree on; returns the newest answer with that label. */
function showSteady(task, answer) {
  const before = task.steady.label;
  const steady = task.steady.add(labelOf(answer), answer);
  const { label, outcome, confidence } = steady;
  showLabel(task.part, label, steady);
  task.part.querySelector(".scores").replaceChildren(bars(steady.scores, label, 3));
  if (label !== before) say(`${words(task.name)}: ${words(label) ?? outcomeText(outcome)}`);
  const [first, ...others] = answer.detections;
  if (!first || label === null) return answer;
  return { ...answer, outcome, detections: [{ ...first, label, confidence }, ...others] };
}

/* Answers of the last two seconds. */
function showSpeed(own) {
  const now = performance.now();
  own.times = [...own.times.filter((time) => now - time < 2000), now];
  const span = (now - own.times[0]) / 1000;
  if (!span || (own.shown && now - own.shown < 500)) return;
  own.shown = now;
  const frames = Math.round((own.times.length - 1) / span);
  speed.textContent = `${frames} ${frames === 1 ? "frame" : "frames"} per second`;
}

/* ---- wiring ---- */

const turnPreview = () => preview.classList.toggle("mirrored", mirror.checked);

start.addEventListener("click", startCamera);
stop.addEventListener("click", stopCamera);
cameras.addEventListener("change", startCamera);
mirror.addEventListener("change", turnPreview);
turnPreview();
setRunning(false);
if (!navigator.mediaDevices) showTrouble(trouble, ...noCamera(""));
