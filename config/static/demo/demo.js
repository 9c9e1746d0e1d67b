// The demo page: everything it does goes through the public API and websocket.

const page = JSON.parse(document.getElementById("page").textContent);
const find = (id) => document.getElementById(id);
const OPEN = new Set(["pending", "sending"]);
const UNFINISHED = new Set(["accepted"]);

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

async function call(path, { user = false, ...options } = {}) {
  const credential = user ? { Authorization: `Bearer ${page.token}` } : { "X-API-Key": page.apiKey };
  const response = await fetch(path, { ...options, headers: { ...credential, "Content-Type": "application/json" } });
  const answer = response.status === 204 ? null : await response.json();
  if (!response.ok) {
    const faults = (answer.errors ?? []).map((error) => `${error.field}: ${error.message}`);
    throw new Error([answer.detail, ...faults].join("\n"));
  }
  return answer;
}

// --- compose

const form = find("compose");

function fill() {
  const kind = page.kinds[form.eventType.value];
  form.data.value = JSON.stringify(kind.data, null, 2);
  for (const box of form.elements.channels) box.checked = kind.channels.includes(box.value);
  form.priority.value = kind.priority;
  find("about").textContent = kind.about;
  find("problem").textContent = "";
}

form.eventType.addEventListener("change", fill);
form.userId.addEventListener("change", () => location.assign(`?user=${encodeURIComponent(form.userId.value)}`));
form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  find("problem").textContent = "";
  try {
    const event = {
      eventType: form.eventType.value,
      userId: form.userId.value,
      channels: [...form.elements.channels].filter((box) => box.checked).map((box) => box.value),
      priority: form.priority.value,
      data: JSON.parse(form.data.value || "{}"),
    };
    const { eventId } = await call("/api/events", { method: "POST", body: JSON.stringify(event) });
    follow(eventId);
  } catch (error) {
    find("problem").textContent = error.message;
  }
});

// --- what became of the event

let followed = null;

async function follow(eventId) {
  followed = eventId;
  const until = Date.now() + 90_000;
  for (let pause = 150; followed === eventId && Date.now() < until; pause = Math.min(pause * 1.5, 2000)) {
    const event = await call(`/api/events/${encodeURIComponent(eventId)}`).catch(() => null);
    if (event !== null) {
      show(event);
      if (!UNFINISHED.has(event.status) && !event.deliveries.some((one) => OPEN.has(one.status))) return;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function show(event) {
  find("which").textContent = `${event.eventType} · ${event.eventId} · ${event.status}`;
  find("cards").replaceChildren(...event.deliveries.filter((one) => one.channel !== "in_app").map(card));
  find("timeline").replaceChildren(...event.timeline.map(entry));
}

function card(delivery) {
  const states = [element("span", { className: `state ${delivery.status}`, textContent: delivery.status })];
  if (delivery.sandbox) states.push(element("span", { className: "state sandbox", textContent: "sandbox" }));
  const title = `${delivery.channel}${delivery.address ? ` · ${delivery.address}` : ""}`;
  const why = delivery.error || delivery.explanation?.why || delivery.reason;
  const content = element("div", {}, ...(BODIES[delivery.channel] ?? plain)(delivery));
  if (why) content.append(element("p", { className: "hint", textContent: why }));
  const node = element("article", { className: "card" }, element("header", {}, element("strong", { textContent: title }), ...states), content);
  node.dataset.channel = delivery.channel;
  return node;
}

const plain = (delivery) => (delivery.body ? [element("p", { textContent: delivery.body })] : []);
const bubble = (delivery) => (delivery.body ? [element("span", { className: "bubble", textContent: delivery.body })] : []);
const BODIES = {
  email(delivery) {
    if (!delivery.html) return plain(delivery);
    const frame = element("iframe", { title: `E-mail: ${delivery.subject}`, srcdoc: delivery.html });
    frame.setAttribute("sandbox", "");
    return [element("strong", { textContent: delivery.subject }), frame];
  },
  sms: bubble,
  chat: bubble,
  push(delivery) {
    if (!delivery.body) return [];
    return [element("div", { className: "toast" }, element("strong", { textContent: delivery.subject }), delivery.body)];
  },
  webhook(delivery) {
    if (!delivery.body) return [];
    const { eventType, eventId, subject, body, data } = delivery;
    const text = JSON.stringify({ type: eventType, data: { eventId, title: subject, body, data } }, null, 2);
    return [element("pre", { textContent: text })];
  },
};

function entry({ at, type, channel, detail }) {
  const time = element("time", { dateTime: at, textContent: new Date(at).toISOString().slice(11, 23) });
  return element("li", {}, time, type, element("span", { textContent: channel ?? "" }), element("span", { textContent: detail ?? "" }));
}

// --- the inbox

const items = new Map();
let newest = null;

function receive(item, { read = false, live = true } = {}) {
  if (items.has(item.id)) return;
  const button = element("button", { type: "button", className: "quiet", textContent: "Mark read" });
  button.addEventListener("click", () => send({ type: "markRead", deliveryId: item.id }) && markRead(item.id));
  const node = element(
    "li",
    { className: read ? "read" : "" },
    element("h3", { textContent: item.title || item.eventType }),
    element("p", { textContent: item.body }),
    element("footer", {}, element("span", { textContent: `${item.eventType} · ${new Date(item.createdAt).toLocaleTimeString()}` }), button),
  );
  node.dataset.id = item.id;
  button.hidden = read;
  items.set(item.id, node);
  if (live) find("items").prepend(node);
  else find("items").append(node);
  if (newest === null || live) newest = item.id;
  find("no-items").hidden = true;
}

function markRead(id) {
  const node = items.get(id);
  node?.classList.add("read");
  const button = node?.querySelector("button");
  if (button) button.hidden = true;
}

find("read-all").addEventListener("click", () => {
  if (send({ type: "markAllRead" })) for (const id of items.keys()) markRead(id);
});

// --- the websocket

let socket = null;
let failures = 0;

function send(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(frame));
  return true;
}

function status(text, open = false) {
  find("link").textContent = text;
  find("link").classList.toggle("open", open);
}

const FRAMES = {
  ready({ counts }) {
    failures = 0;
    status("live", true);
    find("unread").textContent = counts.unread;
    send(newest === null ? { type: "subscribe" } : { type: "subscribe", since: newest });
  },
  notification: (item) => receive(item),
  counts({ unread }) { find("unread").textContent = unread; },
  error({ message }) { status(message, true); },
  pong() {},
};

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/ws/notifications/`, ["bearer", page.token]);
  socket.addEventListener("message", ({ data }) => {
    const frame = JSON.parse(data);
    FRAMES[frame.type]?.(frame);
  });
  socket.addEventListener("close", ({ code }) => {
    if (code === 4401) return status("the token has expired: reload the page");
    const pause = Math.min(30_000, 500 * 2 ** failures++) * (0.5 + Math.random() / 2);
    status(`connection lost, trying again in ${Math.ceil(pause / 1000)} s`);
    setTimeout(connect, pause);
  });
}

fill();
call("/api/inbox?limit=20", { user: true })
  .then(({ results }) => results.forEach((item) => receive(item, { read: item.readAt !== null, live: false })))
  .finally(connect);
