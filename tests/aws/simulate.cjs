// Asks the npm package @cloud-copilot/iam-simulate, which evaluates policies as AWS documents it, what they allow.
//
// The standard input is JSON: {"policies": [document], "groups": [[question]]}, a question being {"policies": [index],
// "principal", "action", "resource", "context": {key: value}}. The standard output holds, for each group, the answers up
// to the first that is no: true, false, or what is wrong with a question, such as an action that there is not, or a
// resource that the action does not know (Service Authorization Reference).
"use strict";

const { runSimulation } = require("@cloud-copilot/iam-simulate");

const ACCOUNT = "123456789012";

async function answer(policies, asked) {
  const result = await runSimulation(
    {
      request: {
        principal: asked.principal,
        action: asked.action,
        resource: { resource: asked.resource, accountId: ACCOUNT },
        contextVariables: asked.context,
      },
      identityPolicies: asked.policies.map((index) => ({ name: `policy-${index}`, policy: policies[index] })),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
    },
    {},
  );
  if (result.resultType === "error") {
    return JSON.stringify(result.errors);
  }
  const ignored = result.result?.ignoredContextKeys ?? [];
  return ignored.length ? `${asked.action} knows no ${ignored}` : result.overallResult === "Allowed";
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
  }
  const { policies, groups } = JSON.parse(Buffer.concat(chunks).toString());
  const answers = [];
  for (const group of groups) {
    const said = [];
    for (const question of group) {
      said.push(await answer(policies, question));
      if (said.at(-1) !== true) {
        break;
      }
    }
    answers.push(said);
  }
  process.stdout.write(JSON.stringify(answers));
}

main();
