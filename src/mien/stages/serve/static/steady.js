/* What the answers to the last frames of a video agree on: single frames may be wrong. */

const WINDOW = 5;

export class Steady {
  #answers = [];
  label = null;

  /* Adds an answer and its label; returns the label or, where there is none, the outcome of most
     of the last answers, the last reason of those, and the means of their confidence and scores. Of
     two equally frequent labels, the present one stays. */
  add(label, answer) {
    this.#answers = [...this.#answers, { ...answer, label }].slice(-WINDOW);
    const counts = new Map();
    for (const each of this.#answers) counts.set(each.label, (counts.get(each.label) ?? 0) + 1);
    const most = Math.max(...counts.values());
    if (counts.get(this.label) !== most) this.label = [...counts].find(([, count]) => count === most)[0];
    const own = this.#answers.filter((each) => each.label === this.label);
    const unsure = own.filter((each) => each.outcome === "unsure").length > own.length / 2;
    const { outcome, unsure_reason } = own.findLast((each) => (each.outcome === "unsure") === unsure);
    return {
      label: this.label,
      outcome,
      unsure_reason,
      confidence: mean(own.map((each) => each.confidence)),
      scores: meanScores(own.map((each) => each.detections[0]?.scores ?? {})),
    };
  }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function meanScores(all) {
  const labels = Object.keys(all.at(-1));
  return Object.fromEntries(labels.map((label) => [label, mean(all.map((each) => each[label] ?? 0))]));
}
