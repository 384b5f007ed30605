/* What the answers to the last frames of a video agree on: single frames may be wrong. */

const WINDOW = 5;

export class Steady {
  #answers = [];
  label = null;

  /* Adds an answer and its label; returns { label, outcome, confidence, scores }: the label or,
     where there is none, the outcome of most of the last answers, with the means of those. Of two
     equally frequent ones, the present one stays. */
  add(label, { outcome, confidence, detections }) {
    this.#answers = [...this.#answers, { label, outcome, confidence, detections }].slice(-WINDOW);
    const counts = new Map();
    for (const each of this.#answers) counts.set(each.label, (counts.get(each.label) ?? 0) + 1);
    const most = Math.max(...counts.values());
    if (counts.get(this.label) !== most) this.label = [...counts].find(([, count]) => count === most)[0];
    const own = this.#answers.filter((each) => each.label === this.label);
    const unsure = own.filter((each) => each.outcome === "unsure").length > own.length / 2;
    return {
      label: this.label,
      outcome: unsure ? "unsure" : own.findLast((each) => each.outcome !== "unsure").outcome,
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
