// Picks samples by source, reason and language, finds words in them, and orders them by a number of their
// metadata. Without it the page shows all of them, in a fixed order.
for (const block of document.querySelectorAll(".samples")) {
  const form = block.querySelector("form");
  const picked = form.elements;
  const samples = [...block.querySelectorAll("article")];
  const texts = new Map(samples.map((sample) => [sample, sample.textContent.toLowerCase()]));
  const numbers = new Map(samples.map((sample) => [sample, JSON.parse(sample.dataset.numbers)]));
  const isKept = (sample) => sample.dataset.reason === "kept";

  const offer = (name, values) => {
    for (const value of new Set(values)) if (value) picked[name].append(new Option(value));
  };

  const isShown = (sample) => {
    const { source, reason, language } = sample.dataset;
    const isOfReason = isKept(sample) || !picked.reason.value || reason === picked.reason.value;
    const isOfSource = !picked.source.value || source === picked.source.value;
    const isInLanguage = !picked.language.value || language === picked.language.value;
    const words = picked.words.value.toLowerCase();
    return isOfReason && isOfSource && isInLanguage && texts.get(sample).includes(words);
  };

  const inOrder = () => {
    const [name, direction] = picked.order.value.split(", ");
    if (!name) return samples;
    const key = (sample) => {
      if (!(name in numbers.get(sample))) return Infinity; // those without the number come last
      const number = numbers.get(sample)[name];
      return direction === "highest first" ? -number : number;
    };
    return [...samples].sort((a, b) => key(a) - key(b) || 0);
  };

  const highlight = (words) => {
    if (!CSS.highlights) return;
    const found = new Highlight();
    for (const sample of words.length < 2 ? [] : samples.filter(isShown)) {
      const walker = document.createTreeWalker(sample, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        const node = walker.currentNode;
        const text = node.data.toLowerCase();
        if (text.length !== node.data.length) continue; // places moved
        for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
          const range = new Range();
          range.setStart(node, at);
          range.setEnd(node, at + words.length);
          found.add(range);
        }
      }
    }
    CSS.highlights.set("found", found);
  };

  const update = () => {
    for (const sample of samples) sample.hidden = !isShown(sample);
    for (const sample of inOrder()) sample.parentElement.append(sample);
    const shown = samples.filter(isShown);
    const kept = shown.filter(isKept).length;
    const dropped = shown.length - kept;
    form.querySelector("output").value = `${kept} kept and ${dropped} dropped shown, of ${samples.length}`;
    highlight(picked.words.value.toLowerCase());
  };

  offer("source", samples.map((sample) => sample.dataset.source));
  offer("reason", samples.filter((sample) => !isKept(sample)).map((sample) => sample.dataset.reason));
  offer("language", samples.map((sample) => sample.dataset.language).sort());
  const names = samples.flatMap((sample) => Object.keys(numbers.get(sample))).sort();
  offer("order", names.flatMap((name) => [`${name}, lowest first`, `${name}, highest first`]));
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  form.hidden = false;
  update();
}
