/* Draws what was detected on a picture: boxes, labels, and the 21 points of a hand. */

import { percent, words } from "./dom.js";

/* The bones between the points of a hand, counted from the wrist. */
const BONES = [
  [0, 1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [0, 17, 18, 19, 20],
  [0, 5, 9, 13, 17],
];
/* One for each task, in the order of the server. */
const COLOURS = ["#ffd166", "#5fe3c7", "#a9c1ff", "#ffa3b8"];
const DARK = "rgb(0 0 0 / 55%)";
const SMALL = 100; // pixels of a thumbnail, which gets finer lines

/* What is written at a detection. */
export const caption = (detection, outcome) =>
  `${words(detection.label)}${outcome === "unsure" ? "?" : ""} ${percent(detection.confidence)}`;

/* Makes a canvas show a picture of { width, height } as large as `box` allows, and what was
   detected in it. `image` null leaves the canvas clear, for a video behind it; `mirrored` turns
   places around, but not the text. */
export function draw(canvas, image, size, box, answers, mirrored = false) {
  const scale = Math.min(box.width / size.width, box.height / size.height);
  const sharp = devicePixelRatio || 1;
  canvas.width = Math.round(size.width * scale * sharp);
  canvas.height = Math.round(size.height * scale * sharp);
  canvas.style.width = `${size.width * scale}px`;
  const pen = canvas.getContext("2d");
  pen.scale(scale * sharp, scale * sharp);
  if (image) pen.drawImage(image, 0, 0, size.width, size.height);
  const turn = mirrored ? (x) => size.width - x : (x) => x;
  const view = { pen, size, turn, unit: (box.width < SMALL ? 0.4 : 1) / scale };
  answers.forEach((answer, number) => {
    const colour = COLOURS[number % COLOURS.length];
    answer.detections.forEach((detection) => {
      if (detection.landmarks?.length === 21) drawHand(view, detection.landmarks, colour);
    });
    answer.detections.forEach((detection) => {
      if (detection.box) drawBox(view, detection.box, caption(detection, answer.outcome), colour);
    });
  });
}

function drawBox({ pen, size, turn, unit }, [x1, y1, x2, y2], text, colour) {
  const [left, right] = [turn(x1), turn(x2)].sort((a, b) => a - b);
  for (const [stroke, width] of [[DARK, 5], [colour, 2.5]]) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width * unit;
    pen.strokeRect(left, y1, right - left, y2 - y1);
  }
  pen.font = `600 ${14 * unit}px system-ui, sans-serif`;
  const wide = pen.measureText(text).width + 14 * unit;
  const start = Math.max(0, Math.min(left, size.width - wide));
  const top = y1 > 26 * unit ? y1 - 25 * unit : Math.min(y1 + 4 * unit, size.height - 24 * unit);
  pen.fillStyle = "rgb(8 33 27 / 88%)";
  pen.beginPath();
  pen.roundRect(start, top, wide, 22 * unit, 5 * unit);
  pen.fill();
  pen.fillStyle = colour;
  pen.fillText(text, start + 7 * unit, top + 16 * unit);
}

/* Landmarks are [x, y, z] in pixels of the picture, as boxes are. */
function drawHand({ pen, turn, unit }, landmarks, colour) {
  const points = landmarks.map(([x, y]) => [turn(x), y]);
  pen.lineJoin = pen.lineCap = "round";
  for (const [stroke, width] of [[DARK, 4.5], [colour, 2.2]]) {
    pen.strokeStyle = stroke;
    pen.lineWidth = width * unit;
    for (const chain of BONES) {
      pen.beginPath();
      chain.forEach((number, step) => pen[step ? "lineTo" : "moveTo"](...points[number]));
      pen.stroke();
    }
  }
  pen.fillStyle = "#ffffff";
  pen.strokeStyle = DARK;
  pen.lineWidth = unit;
  for (const [x, y] of points) {
    pen.beginPath();
    pen.arc(x, y, 3 * unit, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}
