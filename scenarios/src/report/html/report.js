const filters = document.getElementById("filters");
const words = document.getElementById("words");
const defence = document.getElementById("defence");

function show() {
  const judgements = new Set([...filters.querySelectorAll("[name=judgement]:checked")].map((box) => box.value));
  const text = words.value.toLowerCase();
  for (const row of document.querySelectorAll("tbody[data-judgement]")) {
    const wanted = judgements.has(row.dataset.judgement) && (!defence.value || defence.value === row.dataset.defence);
    row.hidden = !wanted || !row.rows[0].cells[0].textContent.toLowerCase().includes(text);
  }
}

filters.addEventListener("input", show);
filters.addEventListener("submit", (event) => event.preventDefault());
show();
