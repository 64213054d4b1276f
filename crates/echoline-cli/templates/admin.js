// Updates the live page each second. Every value is inserted as text, never as HTML, because log
// lines contain text from clients.
"use strict";

const SECONDS = 120;
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function fillTable(id, rows, classOf) {
  const body = byId(id);
  if (!body) return;
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    line.className = classOf ? classOf(row) : "";
    line.append(...row.map((text, column) => {
      const cell = document.createElement(column === 0 ? "th" : "td");
      cell.textContent = text;
      return cell;
    }));
    return line;
  }));
}

function fillTiles(tiles) {
  tiles.forEach((tile, place) => {
    const [name, value, more] = byId("tiles").children[place].children;
    [name.textContent, value.textContent, more.textContent] = [tile.name, tile.value, tile.more];
  });
}

// The newest value is at the right edge. A gap begins a new stroke.
function path(values, top) {
  let drawn = "";
  let pen = "M";
  values.forEach((value, place) => {
    if (value === null) {
      pen = "M";
      return;
    }
    const x = SECONDS - values.length + place;
    const y = 100 - Math.min(100, (100 * value) / top);
    drawn += `${pen}${x} ${y.toFixed(2)}`;
    // A single point is drawn too.
    drawn += pen === "M" ? `h0` : "";
    pen = "L";
  });
  return drawn;
}

function fillChart(figure, chart) {
  figure.querySelector(".top").textContent = chart.top_text;
  figure.querySelectorAll(".legend b").forEach((shown, place) => {
    shown.textContent = chart.lines[place].now;
  });
  let svg = figure.querySelector("svg");
  if (!svg) {
    svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${SECONDS - 1} 100`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${chart.title} in the last two minutes`);
    svg.append(...chart.lines.map(() => document.createElementNS(SVG, "path")));
    figure.querySelector(".plot").append(svg);
  }
  chart.lines.forEach((line, place) => {
    svg.children[place].setAttribute("d", path(line.values, chart.top));
  });
}

function show(view) {
  document.title = `echoline: ${view.phase}`;
  document.body.className = "";
  byId("phase").textContent = view.phase;
  byId("phase").className = view.phase;
  byId("headline").textContent = view.headline;
  fillTiles(view.tiles);
  byId("charts").hidden = false;
  view.charts.forEach((chart, place) => fillChart(byId("charts").children[place], chart));
  fillTable("ends", view.ends.length ? view.ends : [["no connection has ended yet"]]);
  fillTable("limits", view.limits);
  fillTable("workers", view.workers);
  fillTable("faults", view.faults ?? []);
  fillTable("penalties", view.penalties ?? []);
  fillTable("log", view.log, (row) => row[1]);
}

// The old values stay, marked as old, until the server answers again.
function showLoss() {
  document.title = "echoline: no answer";
  document.body.className = "lost";
  byId("phase").textContent = "no answer";
  byId("phase").className = "lost";
}

async function renew() {
  try {
    const answer = await fetch("/snapshot.json", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    show(await answer.json());
  } catch {
    showLoss();
  }
}

async function live() {
  for (;;) {
    if (!document.hidden) await renew();
    await new Promise((wake) => setTimeout(wake, 1000));
  }
}

live();
