/* What every view with a camera uses: its pictures, and why a browser gives none. */

import { make } from "./dom.js";

export const FRAME_HEADER = "X-Mien-Frame";
const LONGER_SIDE = 480;
const QUALITY = 0.85;
/* Why a browser gives no camera, by the name of its error. */
const REASONS = {
  NotAllowedError: "The camera was not allowed. Allow it beside the address, then start again.",
  NotFoundError: "No camera was found. Connect one, then start again.",
  NotReadableError: "The camera is used by another program. Close it, then start again.",
};

export const openCamera = (device) =>
  navigator.mediaDevices.getUserMedia({ video: { ...device, width: { ideal: 640 } } });

export const cameraReason = (error) =>
  REASONS[error.name] ?? `The camera cannot be used (${error.name}).`;

/* Why a page of this address gets no camera at all: a title and what to do. */
export function noCamera(path) {
  const { hostname, port, protocol } = location;
  const own = port || (protocol === "https:" ? "443" : "80");
  return [
    `The browser gives no camera to a page from http://${hostname}: it allows one over https, or from this machine`,
    `On the machine of the server, open http://localhost:${own}/${path}. From another one, forward the ` +
    `port with \`ssh -L ${own}:localhost:${own} ${hostname}\` and open http://localhost:${own}/${path}, ` +
    "or put a proxy with TLS in front of the server. Pictures work without this.",
  ];
}

/* The next picture of the camera; none comes while the tab is hidden. */
export const newFrame = (preview) => new Promise((resolve) => {
  if (preview.requestVideoFrameCallback) preview.requestVideoFrameCallback(resolve);
  else requestAnimationFrame(resolve);
});

const canvas = make("canvas");

/* The present picture as { blob, size }, or null where there is none yet. */
export async function takeFrame(preview) {
  const { videoWidth, videoHeight } = preview;
  if (!videoWidth) return null;
  const scale = Math.min(1, LONGER_SIDE / Math.max(videoWidth, videoHeight));
  const size = { width: Math.round(videoWidth * scale), height: Math.round(videoHeight * scale) };
  Object.assign(canvas, size);
  canvas.getContext("2d").drawImage(preview, 0, 0, size.width, size.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return blob && { blob, size };
}
