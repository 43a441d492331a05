// Calls by official SDKs from npm; JSON lines on stdout, with the arguments and lines of calls.py.
//
// Run by tests.clients from a copy beside their node_modules: an import is looked for from where the file stands.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { inspect } from "node:util";

const messages = [{ role: "user", content: "Why?" }];

async function all(stream) {
  const found = [];
  for await (const one of stream) found.push(one);
  return found;
}

async function openai(base, model, stream = false) {
  const { default: OpenAI } = await import("openai");
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "k", maxRetries: 0 });
  const made = await client.chat.completions.create({ model, messages, stream });
  return stream ? all(made) : made;
}

async function openaiResponses(base, model) {
  const { default: OpenAI } = await import("openai");
  return new OpenAI({ baseURL: base, apiKey: "k", maxRetries: 0 }).responses.create({ model, input: "Why?" });
}

async function anthropic(base, model, stream = false) {
  const { default: Anthropic } = await import("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: base, apiKey: "k", maxRetries: 0 });
  const made = await client.messages.create({ model, max_tokens: 9, messages, stream });
  return stream ? all(made) : made;
}

async function genai(base, model, stream = false) {
  const { GoogleGenAI } = await import("@google/genai");
  const { models } = new GoogleGenAI({ apiKey: "k", httpOptions: { baseUrl: base } });
  const asked = { model, contents: "Why?" };
  return stream ? all(await models.generateContentStream(asked)) : models.generateContent(asked);
}

async function cohere(base, model, stream = false) {
  const { CohereClientV2 } = await import("cohere-ai");
  const client = new CohereClientV2({ token: "k", environment: base });
  return stream
    ? all(await client.chatStream({ model, messages }, { maxRetries: 0 }))
    : client.chat({ model, messages }, { maxRetries: 0 });
}

async function ollama(base, model, stream = false) {
  const { Ollama } = await import("ollama");
  const made = await new Ollama({ host: base }).chat({ model, messages, stream });
  return stream ? all(made) : made;
}

async function mistral(base, model, stream = false) {
  const { Mistral } = await import("@mistralai/mistralai");
  const { chat } = new Mistral({ apiKey: "k", serverURL: base, retryConfig: { strategy: "none" } });
  return stream ? all(await chat.stream({ model, messages })) : chat.complete({ model, messages });
}

async function bedrock(base, model, stream = false) {
  const sdk = await import("@aws-sdk/client-bedrock-runtime");
  const credentials = { accessKeyId: "k", secretAccessKey: "k" };
  const client = new sdk.BedrockRuntimeClient({ region: "us-east-1", endpoint: base, credentials, maxAttempts: 1 });
  const asked = { modelId: model, messages: [{ role: "user", content: [{ text: "Why?" }] }] };
  try {
    if (!stream) return await client.send(new sdk.ConverseCommand(asked));
    return await all((await client.send(new sdk.ConverseStreamCommand(asked))).stream);
  } finally {
    client.destroy();
  }
}

const streamed = (call) => (base, model) => call(base, model, true);
const calls = {
  "npm openai chat.completions": openai,
  "npm openai chat.completions, streamed": streamed(openai),
  "npm openai responses, no /v1": openaiResponses,
  "npm @anthropic-ai/sdk messages": anthropic,
  "npm @anthropic-ai/sdk messages, streamed": streamed(anthropic),
  "npm @google/genai generateContent": genai,
  "npm @google/genai generateContentStream": streamed(genai),
  "npm cohere-ai chat": cohere,
  "npm cohere-ai chatStream": streamed(cohere),
  "npm ollama chat": ollama,
  "npm ollama chat, streamed": streamed(ollama),
  "npm @mistralai/mistralai chat.complete": mistral,
  "npm @mistralai/mistralai chat.stream": streamed(mistral),
  "npm @aws-sdk/client-bedrock-runtime Converse": bedrock,
  "npm @aws-sdk/client-bedrock-runtime ConverseStream": streamed(bedrock),
};

const INPUT = /\b(?:prompt_tokens|input_tokens|promptTokens|promptTokenCount|inputTokens|prompt_eval_count): (\d+)/g;
const OUTPUT =
  /\b(?:completion_tokens|output_tokens|completionTokens|candidatesTokenCount|outputTokens|eval_count): (\d+)/g;

// The last number with one of the names.
function tokens(text, names) {
  const found = [...text.matchAll(names)].at(-1);
  return found ? Number(found[1]) : null;
}

// What the exception shows of when to come again; empty where it shows nothing.
function retryAfter(error) {
  const headers = (error.$response ?? error.rawResponse ?? error).headers;
  return headers?.get?.("retry-after") ?? headers?.["retry-after"] ?? "";
}

const say = (found) => process.stdout.write(`${JSON.stringify(found)}\n`);

async function answered(url) {
  const lines = createInterface({ input: process.stdin });
  for (const [name, call] of Object.entries(calls)) {
    const found = { call: name, error: "", text: "", tokens: [null, null] };
    try {
      found.text = inspect(await call(url, "any"), { depth: null });
      found.tokens = [tokens(found.text, INPUT), tokens(found.text, OUTPUT)];
    } catch (error) {
      found.error = `${error.constructor.name}: ${error.message}`;
    }
    const next = once(lines, "line");
    say(found);
    await next;
  }
  lines.close();
}

async function refused(urls) {
  for (const [name, call] of Object.entries(calls)) {
    for (const [model, url] of Object.entries(urls)) {
      const found = { call: name, model, class: "", message: "", again: "" };
      try {
        await call(url, model);
      } catch (error) {
        found.class = error.constructor.name;
        found.again = retryAfter(error);
        found.message = error.message;
      }
      say(found);
    }
  }
}

const [mode, first] = process.argv.slice(2);
await (mode === "answered" ? answered(first) : refused(JSON.parse(first)));
