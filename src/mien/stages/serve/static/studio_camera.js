/* The camera of the studio: pictures go to the recording while a button is held, and else to the
   newest model, as soon as there is one. One picture is in flight at a time. */

import { bars, labelOf, makeAnswer, outcomeText, showLabel } from "./answers.js";
import { at, say, showTrouble, words } from "./dom.js";
import { draw } from "./drawing.js";
import { request } from "./key.js";
import { Steady } from "./steady.js";
import { ask } from "./studio_requests.js";
import { FRAME_HEADER, cameraReason, newFrame, noCamera, openCamera, takeFrame } from "./video.js";

const [preview, overlay, idle, stage, start, stop, mirror] =
  ["preview", "overlay", "idle", "stage", "start", "stop", "mirror"].map(at);
const [report, trouble, live, hint] = ["camera_state", "camera_trouble", "live_answers", "try_hint"].map(at);
const LEAST_MS = 120; // between two samples: pictures that are nearer are copies of each other
const POLL_MS = 300;

let stream = null;
let recording = null; // { goes, send } while a button is held
let model = null; // { task, version, before } that answers now
let awaited = ""; // version that the server is loading
let parts = []; // of the newest model and the one before it
let video = { frame: "first", steady: [] };

/* ---- start and stop ---- */

async function startCamera() {
  showTrouble(trouble, "");
  try {
    stream = await openCamera({ facingMode: "user" });
  } catch (error) {
    return showTrouble(trouble, cameraReason(error));
  }
  const own = stream;
  own.getVideoTracks()[0].addEventListener("ended", stopCamera);
  preview.srcObject = own;
  setRunning(true);
  video = { frame: "first", steady: [] };
  while (own === stream) await step(own);
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = preview.srcObject = null;
  setRunning(false);
  report.textContent = "";
}

function setRunning(running) {
  start.hidden = running;
  stop.hidden = !running;
  idle.hidden = running;
  preview.hidden = overlay.hidden = !running;
}

async function step(own) {
  await newFrame(preview);
  if (own !== stream || (!recording && !model)) return;
  const frame = await takeFrame(preview);
  if (!frame || own !== stream) return;
  const begin = performance.now();
  if (recording) {
    await sendSample(frame);
    await new Promise((resolve) => setTimeout(resolve, LEAST_MS - (performance.now() - begin)));
  } else if (model) await answer(own, frame);
}

/* ---- recording ---- */

/* Sends pictures of the camera as long as `goes()`; resolves after the last one. */
export function recordWhile(goes, send) {
  if (!stream) {
    report.textContent = "Start the camera first, or add photos.";
    say(report.textContent);
    return Promise.resolve();
  }
  return new Promise((done) => { recording = { goes, send, done, count: 0 }; });
}

async function sendSample({ blob, size }) {
  const own = recording;
  const sample = own.goes() || !own.count ? await own.send(blob) : null; // a tap is one sample
  own.count += 1;
  if (sample) {
    const same = sample.numbers ? "The same as before: move a little." : "No hand was detected: nothing was recorded.";
    report.textContent = sample.recorded ? "Recording" : same;
    show(size, sample.numbers ? [{ detections: [{ landmarks: points(sample.numbers) }] }] : []);
  }
  if (own.goes() && stream) return;
  recording = null;
  report.textContent = "";
  own.done();
}

const points = (numbers) => Array.from({ length: 21 }, (_, index) => numbers.slice(3 * index, 3 * index + 3));

function show(size, answers) {
  const box = { width: stage.clientWidth, height: stage.clientHeight };
  draw(overlay, null, size, box, answers, mirror.checked);
}

/* ---- live answers ---- */

/* Lets the camera ask the newest model, once the server has loaded it. */
export async function setLive({ task, result, before, training }) {
  if (!result || (training.state === "running" && !training.model_seconds)) return;
  if (model?.version === result.version && model.before === before) return;
  if (awaited === result.version) return;
  awaited = result.version;
  hint.textContent = "The server loads the new model.";
  while (!(await isServed(result.version))) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  awaited = "";
  model = { task, version: result.version, before };
  parts = before ? ["New model", "Model before"].map(titled) : ["New model"].map(titled);
  live.replaceChildren(...parts);
  video = { frame: "first", steady: [] };
  hint.textContent = "Show one of your classes to the camera above.";
  say("The new model answers now.");
}

function titled(title) {
  const part = makeAnswer(title);
  part.querySelector("h2").textContent = title;
  return part;
}

async function isServed(version) {
  const report = await (await fetch("status.json")).json();
  return report.models.some((each) => each.version === version);
}

async function answer(own, { blob, size }) {
  const { task, before } = model;
  const response = await request(`predict/${task}`, () => ({
    method: "POST",
    headers: { "Content-Type": "image/jpeg", [FRAME_HEADER]: video.frame },
    body: blob,
  })).catch(() => null);
  if (own !== stream) return;
  const reply = response ? await response.json() : { title: "The studio does not respond" };
  showTrouble(trouble, response?.ok ? "" : reply.title, reply.detail);
  if (!response?.ok) return new Promise((resolve) => setTimeout(resolve, 1000));
  video.frame = response.headers.get(FRAME_HEADER) ?? "first";
  const landmarks = reply.detections[0]?.landmarks;
  const older = before && landmarks ? await ask("POST", "compare", { landmarks }) : reply;
  if (own !== stream || recording) return;
  show(size, [reply]);
  showAnswer(0, reply);
  if (before && older) showAnswer(1, older);
}

function showAnswer(index, reply) {
  const frames = video.steady[index] ??= new Steady();
  const last = frames.label;
  const steady = frames.add(labelOf(reply), reply);
  showLabel(parts[index], steady.label, steady);
  parts[index].querySelector(".scores").replaceChildren(bars(steady.scores, steady.label, 4));
  if (!index && steady.label !== last) say(words(steady.label) ?? outcomeText(steady.outcome));
}

/* ---- wiring ---- */

const turnPreview = () => preview.classList.toggle("mirrored", mirror.checked);

start.addEventListener("click", startCamera);
stop.addEventListener("click", stopCamera);
mirror.addEventListener("change", turnPreview);
turnPreview();
setRunning(false);
if (!navigator.mediaDevices) {
  start.disabled = true;
  showTrouble(trouble, ...noCamera("studio"));
}
