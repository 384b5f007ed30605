/* The page of the studio: classes and their samples. Training and results: studio_training.js;
   the camera: studio_camera.js. */

import { at, copyOf, make, say } from "./dom.js";
import { draw } from "./drawing.js";
import { ask, explain, save } from "./studio_requests.js";
import { recordWhile, setLive } from "./studio_camera.js";
import { showTraining } from "./studio_training.js";

const [classes, undo, csv, form] = ["classes", "undo", "csv", "new_class"].map(at);
const [number, hint] = ["session", "session_hint"].map(at);
const SHOWN = 40;
const ENOUGH = 20; // samples of a class in one session
const THUMBNAIL = { width: 56, height: 56 };

let state = { labels: [], limits: { sessions: 20 } };
let session = 0; // none before the first state
let added = []; // classes without a sample yet
let takes = 0;

/* ---- state ---- */

export async function refresh() {
  const answer = await ask("GET", "state");
  if (!answer) return;
  state = answer;
  session ||= Math.max(1, ...state.labels.flatMap((each) => Object.keys(each.sessions).map(Number)));
  added = added.filter((label) => !state.labels.some((each) => each.label === label));
  undo.disabled = !state.undoable;
  showClasses();
  showSession();
  showTraining(state, refresh);
  setLive(state);
}

function showSession() {
  number.textContent = session;
  const counts = state.labels.map((each) => each.sessions[session] ?? 0);
  const full = counts.length > 1 && Math.min(...counts) >= ENOUGH;
  hint.textContent = full
    ? "Every class has enough samples of this session. Now move, change the light, or take the other hand; then start the next session."
    : "Record every class here, then change something (place, light, hand) and start the next session: the model is measured on sessions that it did not learn from.";
  at("next_session").disabled = session >= state.limits.sessions;
  at("next_session").classList.toggle("primary", full);
}

/* ---- classes ---- */

function showClasses() {
  const empty = added.map((label) => ({ label, count: 0, sessions: {} }));
  const present = [...state.labels, ...empty];
  for (const card of [...classes.children]) {
    if (!present.some((each) => each.label === card.dataset.label)) card.remove();
  }
  for (const each of present) {
    const card = [...classes.children].find((one) => one.dataset.label === each.label) ?? makeClass(each.label);
    const sessions = Object.entries(each.sessions).map(([name, count]) => `${count} in session ${name}`);
    card.querySelector(".count").textContent =
      each.count ? `${each.count} samples: ${sessions.join(", ")}` : "no samples yet";
    if (Number(card.dataset.count) !== each.count) showSamples(card, each);
  }
}

function makeClass(label) {
  const card = copyOf("class_template");
  card.dataset.label = label;
  card.querySelector("h3").textContent = label;
  card.setAttribute("aria-label", `class ${label}`);
  card.querySelector(".delete").addEventListener("click", () => deleteClass(label));
  const photos = card.querySelector(".photos");
  photos.addEventListener("change", async () => {
    const files = [...photos.files];
    photos.value = "";
    await addPhotos(label, files);
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    card.addEventListener(kind, (event) => {
      event.preventDefault();
      card.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") addPhotos(label, [...event.dataTransfer.files]);
    });
  }
  hold(card.querySelector(".hold"), label);
  classes.append(card);
  return card;
}

/* Records as long as the button, or Space or Enter on it, is held. */
function hold(button, label) {
  let held = false;
  const press = async () => {
    if (held) return;
    held = true;
    button.classList.add("held");
    const take = nextTake();
    await recordWhile(() => held, (frame) => record(label, frame, take));
    release();
    await refresh();
  };
  const release = () => {
    held = false;
    button.classList.remove("held");
  };
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    press();
  });
  for (const kind of ["pointerup", "pointercancel", "blur"]) button.addEventListener(kind, release);
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
  const isKey = (event) => event.key === " " || event.key === "Enter";
  button.addEventListener("keydown", (event) => {
    if (!isKey(event)) return;
    event.preventDefault();
    press();
  });
  button.addEventListener("keyup", (event) => isKey(event) && release());
}

const nextTake = () => `${Date.now()} ${takes += 1}`;

/* Sends one picture; returns the answer, or null after a problem. */
async function record(label, blob, take) {
  const query = new URLSearchParams({ label, session, take });
  const answer = await ask("POST", `samples?${query}`, blob);
  if (answer?.recorded) {
    const card = [...classes.children].find((one) => one.dataset.label === label);
    card?.querySelector(".samples").prepend(thumbnail(answer.name, answer.numbers, label, session));
  }
  return answer;
}

async function addPhotos(label, files) {
  const take = nextTake();
  let recorded = 0;
  for (const file of files) recorded += (await record(label, file, take))?.recorded ?? 0;
  const without = files.length - recorded;
  const text = `${label}: ${recorded} of ${files.length} photos recorded.`;
  say(text);
  if (without) explain(text, `${without} show no hand, or were recorded before.`);
  await refresh();
}

async function deleteClass(label) {
  added = added.filter((each) => each !== label);
  const answer = await ask("GET", `samples?${new URLSearchParams({ label })}`);
  const names = (answer?.samples ?? []).map((each) => each.name);
  if (names.length) await ask("POST", "delete", { names });
  say(`${label} was deleted; Undo brings it back.`);
  await refresh();
}

/* ---- samples ---- */

async function showSamples(card, { label, count }) {
  card.dataset.count = count;
  const answer = await ask("GET", `samples?${new URLSearchParams({ label })}`);
  if (!answer) return;
  const newest = answer.samples.slice(-SHOWN).reverse();
  const parts = newest.map((each) => thumbnail(each.name, each.numbers, label, each.session));
  if (count > SHOWN) parts.push(make("p", { className: "quiet" }, `and ${count - SHOWN} earlier ones`));
  card.querySelector(".samples").replaceChildren(...parts);
}

/* The hand of a sample, drawn from its points; a click deletes it. */
function thumbnail(name, numbers, label, ofSession) {
  const text = `Delete a sample of ${label}, session ${ofSession}`;
  const button = make("button", { type: "button", className: "sample", title: text });
  button.setAttribute("aria-label", text);
  const canvas = make("canvas");
  const points = Array.from({ length: 21 }, (_, index) => numbers.slice(3 * index, 3 * index + 2));
  const [left, top] = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
  const side = 1.2 * Math.max(right - left, bottom - top, 1);
  const [x, y] = [(side - right - left) / 2, (side - bottom - top) / 2];
  const landmarks = points.map((point) => [point[0] + x, point[1] + y]);
  draw(canvas, null, { width: side, height: side }, THUMBNAIL, [{ detections: [{ landmarks }] }], at("mirror").checked);
  button.append(canvas);
  button.addEventListener("click", async () => {
    await ask("POST", "delete", { names: [name] });
    say("One sample was deleted; Undo brings it back.");
    await refresh();
  });
  return button;
}

/* ---- wiring ---- */

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const label = at("class_name").value.trim();
  at("class_name").value = "";
  if (label && !state.labels.some((each) => each.label === label)) added = [...new Set([...added, label])];
  showClasses();
});
undo.addEventListener("click", async () => {
  await ask("POST", "undo");
  await refresh();
});
at("next_session").addEventListener("click", () => {
  session += 1;
  say(`Session ${session}`);
  showSession();
});
at("save_csv").addEventListener("click", () => save("recording.csv"));
csv.addEventListener("change", async () => {
  const answer = await ask("POST", "recording.csv", csv.files[0]);
  csv.value = "";
  if (answer) say(`${answer.recorded} of ${answer.samples} samples are new.`);
  await refresh();
});
refresh();
