/* The models of the server, from GET /health; knows no task by name. */

const RETRY_MS = 700;

/* Calls `changed` with { models, detail } now, and again while models are being loaded. */
export async function watchModels(changed) {
  const report = await (await fetch("health")).json().catch(() => ({}));
  const models = report.models ?? [];
  changed({ models: models.filter((model) => model.state === "ready"), detail: report.detail });
  if (models.some((model) => model.state === "loading")) setTimeout(watchModels, RETRY_MS, changed);
}
