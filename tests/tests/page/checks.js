// What must hold of any view of the page, asked from inside it. Comes to a list of complaints.
(() => {
  const complaints = [];
  const visible = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
  const told = (element) => `<${element.localName} class="${element.getAttribute("class") ?? ""}"> ${element.textContent.trim().slice(0, 40)}`;

  const headings = document.querySelectorAll("h1");
  if (headings.length !== 1) complaints.push(`${headings.length} headings of the first order`);
  if (document.documentElement.scrollWidth > innerWidth) complaints.push(`wider than the screen: ${document.documentElement.scrollWidth} of ${innerWidth}`);
  for (const landmark of ["header", "nav", "main"]) {
    if (!document.querySelector(landmark)) complaints.push(`no ${landmark}`);
  }
  for (const control of document.querySelectorAll("input, select, textarea")) {
    if (visible(control) && control.labels.length === 0 && !control.getAttribute("aria-label")) complaints.push(`no label: ${told(control)}`);
  }
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption?.textContent) complaints.push("a table without a caption");
    for (const head of table.querySelectorAll("thead th")) {
      if (!head.getAttribute("scope")) complaints.push(`a column's head without scope: ${told(head)}`);
    }
  }
  for (const element of document.querySelectorAll("[style], script:not([src])")) complaints.push(`style or script inline: ${told(element)}`);

  // Contrast, as WCAG 2.2 reckons it (1.4.3): 4.5, or 3 for large text.
  const parts = (colour) => {
    const numbers = colour.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    if (colour.startsWith("color(")) return [...numbers.slice(0, 3).map((part) => part * 255), numbers[3] ?? 1];
    return [numbers[0], numbers[1], numbers[2], numbers[3] ?? 1];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = parts(getComputedStyle(at).backgroundColor);
      layers.push(layer);
      if (layer[3] === 1) break;
    }
    const base = layers.at(-1)?.[3] === 1 ? layers.pop().slice(0, 3) : [255, 255, 255];
    return layers.reverse().reduce((under, [r, g, b, a]) => [r, g, b].map((part, at) => part * a + under[at] * (1 - a)), base);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !visible(element) || element.closest(".unseen, :disabled, noscript")) continue;
    const style = getComputedStyle(element);
    const ink = parts(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const paper = behind(element);
    const mixed = ink.slice(0, 3).map((part, at) => part * ink[3] + paper[at] * (1 - ink[3]));
    const [light, dark] = [luminance(mixed), luminance(paper)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) complaints.push(`contrast ${ratio.toFixed(2)}: ${told(element)}`);
  }
  return [...new Set(complaints)];
})()
