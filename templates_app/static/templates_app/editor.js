/* The live preview beside the form of a template or layout. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const pane = document.getElementById("template-preview");
    const form = pane?.closest("form");
    if (!form) return;

    const PAUSE_MS = 350;
    // The sandbox bars scripts; this bars calling home: no remote image that would count an opening.
    const POLICY =
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">";
    const state = pane.querySelector("[role=status]");
    const problems = pane.querySelector(".template-problems");
    const subject = pane.querySelector(".template-preview-subject");
    const html = pane.querySelector("[data-part=html]");
    const body = pane.querySelector("[data-part=body]");
    const sample = pane.querySelector("[name=sample_data]");
    let waiting = 0;
    let running = null;

    function showPart(figure, text, put) {
        figure.hidden = !text;
        if (text) put(text);
    }

    function show(result) {
        showProblems(result.problems);
        pane.classList.toggle("is-stale", result.problems.length > 0);
        if (result.problems.length) return;
        showPart(subject, result.subject, (text) => (subject.querySelector("strong").textContent = text));
        showPart(html, result.html, (text) => (html.querySelector("iframe").srcdoc = POLICY + text));
        showPart(body, result.body, (text) => (body.querySelector("pre").textContent = text));
        if (sample && result.examples) {
            sample.placeholder = `Empty: the examples of the variables\n${JSON.stringify(result.examples, null, 2)}`;
        }
    }

    function showProblems(list) {
        problems.hidden = !list.length;
        problems.replaceChildren(...list.map(problemItem));
    }

    function problemItem({ field, message, line }) {
        const item = document.createElement("li");
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = field ? `${field}: ${message}` : message;
        button.addEventListener("click", () => goTo(field, line));
        item.append(button);
        return item;
    }

    function goTo(field, line) {
        const input = form.elements[field.split("[")[0].replace(" ", "_")];
        if (!input) return;
        input.focus();
        if (!line || !input.setSelectionRange) return;
        const lines = input.value.split("\n");
        const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
        input.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
    }

    async function refresh() {
        running?.abort();
        const request = (running = new AbortController());
        state.textContent = "…";
        try {
            const answer = await fetch(pane.dataset.url, { method: "POST", body: new FormData(form), signal: request.signal });
            if (!answer.ok) throw new Error(`The server answered ${answer.status}`);
            show(await answer.json());
            state.textContent = problems.hidden ? "up to date" : "";
        } catch (error) {
            if (error.name !== "AbortError") state.textContent = error.message;
        }
    }

    function soon() {
        clearTimeout(waiting);
        waiting = setTimeout(refresh, PAUSE_MS);
    }

    form.addEventListener("input", soon);
    form.addEventListener("change", soon);
    pane.querySelector("[data-refresh]").addEventListener("click", refresh);
    refresh();
});
