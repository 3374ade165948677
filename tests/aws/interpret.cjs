// Runs state machines on the npm package aws-local-stepfunctions, an interpreter that is not moto's.
//
// A line of JSON on the standard input is a run: {"machines": {ARN: definition}, "start": ARN, "name", "input",
// "functions": URL of AWS Lambda}. A line on the standard output tells how it ended: {"status", "output"?, "error"?}.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const readline = require("node:readline");

// The package is made for Node 22; this is all of it that Node 20 lacks.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

const { StateMachine } = require("aws-local-stepfunctions");

const MAX_STATE = 256 * 1024; // bytes of a state's input or output (Step Functions, Quotas)

// The package's context object has no State; `$$.State.RetryCount` is counted here, for each execution, item and branch.
const states = new AsyncLocalStorage();

class TaskError extends Error {
  constructor(name, cause) {
    super(cause);
    this.name = name;
  }
}

class DataLimitExceeded extends Error {
  name = "States.DataLimitExceeded"; // which neither Retry nor Catch sees, not even by States.ALL
  isRetryable = false;
  isCatchable = false;
}

// JSON with every character that is not ASCII escaped, as some of Lambda's runtimes send it.
const escaped = (value) => JSON.stringify(value).replace(/[^\0-\x7f]/g, "\\uXXXX");

function limited(value, what) {
  const bytes = escaped(value).length;
  if (bytes > MAX_STATE) throw new DataLimitExceeded(`${what} has ${bytes} bytes`);
  return value;
}

async function invoke(run, { FunctionName, Payload }) {
  const address = `${run.functions}/2015-03-31/functions/${encodeURIComponent(FunctionName)}/invocations`;
  const response = await fetch(address, { method: "POST", body: JSON.stringify(Payload) });
  const text = await response.text();
  if (!response.ok) throw new TaskError(`Lambda.${response.headers.get("x-amzn-errortype")}`, text);
  const answer = JSON.parse(text);
  if (response.headers.has("x-amz-function-error")) throw new TaskError(answer.errorType, text);
  return { ExecutedVersion: "$LATEST", StatusCode: 200, Payload: answer };
}

async function startExecution(run, { StateMachineArn, Name, Input }) {
  const ended = await execute(run, StateMachineArn, Name, Input);
  if (ended.status !== "SUCCEEDED") throw new TaskError("States.TaskFailed", JSON.stringify(ended));
  return { Status: ended.status, Output: ended.output };
}

const INTEGRATIONS = { "lambda:invoke": invoke, "states:startExecution.sync:2": startExecution };

function handlers(run, machine, found = {}) {
  for (const [name, state] of Object.entries(machine.States)) {
    if (state.Type === "Task") found[name] = (input) => perform(run, state, input);
    for (const inner of [state.ItemProcessor, ...(state.Branches ?? [])]) if (inner) handlers(run, inner, found);
  }
  return found;
}

async function perform(run, state, input) {
  const current = states.getStore();
  const integration = INTEGRATIONS[state.Resource.split(":::")[1]];
  try {
    const output = limited(await integration(run, limited(input, "the input")), "the output");
    current.RetryCount = 0;
    return output;
  } catch (error) {
    current.RetryCount += 1;
    throw error;
  }
}

async function execute(run, arn, name, input) {
  if (!(arn in run.machines)) throw new TaskError("StepFunctions.StateMachineDoesNotExistException", arn);
  if (run.names.has(name)) throw new TaskError("StepFunctions.ExecutionAlreadyExistsException", name);
  run.names.add(name);
  const machine = JSON.parse(run.machines[arn]);
  const context = {
    Execution: { Id: `${arn}:${name}`, Name: name, RedriveCount: 0 },
    StateMachine: { Id: arn },
    get State() {
      const state = { RetryCount: 0 };
      states.enterWith(state);
      return state;
    },
  };
  const overrides = { taskResourceLocalHandlers: handlers(run, machine) };
  const start = () => new StateMachine(machine).run(limited(input, "the input"), { context, overrides }).result;
  try {
    const output = await states.run(null, start); // whose own State is then not that of its caller
    return { status: "SUCCEEDED", output };
  } catch (error) {
    const cause = error.cause ?? error;
    return { status: "FAILED", error: `${cause.name}: ${cause.message}` };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const run = { ...JSON.parse(line), names: new Set() };
    const ended = await execute(run, run.start, run.name, run.input);
    process.stdout.write(JSON.stringify(ended) + "\n");
  }
}

main();
