// The runtime client for Node.js: takes invocations from the Runtime API and gives them to the handler.
//
// With `--wait` it is started before its function is known: descriptor 3 then brings the variables, and ends.
'use strict';

const fs = require('fs');
const path = require('path');
const net = require('net');
const http = require('http');

function awaitFunction() {
  let text = '';
  const part = Buffer.alloc(65536);
  for (;;) {
    const length = fs.readSync(3, part, 0, part.length, null);
    if (length === 0) break;
    text += part.toString('utf8', 0, length);
  }
  if (text === '') process.exit(0); // the environment was not needed
  fs.closeSync(3);
  const wanted = new Map(JSON.parse(text));
  for (const name of Object.keys(process.env)) if (!wanted.has(name)) delete process.env[name];
  for (const [name, value] of wanted) process.env[name] = value;
  require('v8').setFlagsFromString('--max-old-space-size=' + Math.max(64, Math.floor(Number(process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE) * 0.9)));
  // Read at start only, when they were not known.
  require('module').Module._initPaths();
}

const LEVELS = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };
let TASK_ROOT, HOST, PORT, IS_JSON, LEAST, requestId;

function readVariables() {
  TASK_ROOT = process.env.LAMBDA_TASK_ROOT;
  [HOST, PORT] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
  IS_JSON = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
  LEAST = LEVELS[(process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase()] || 1;
}

// While there is no function yet: what an invocation takes is done a few times against a server of our own, so that it is loaded
// and compiled when it counts.
function warmUp() {
  return new Promise((resolve) => {
    const server = http.createServer((incoming, answer) => {
      incoming.resume();
      incoming.on('end', () => {
        answer.setHeader('lambda-runtime-aws-request-id', 'none');
        answer.setHeader('lambda-runtime-deadline-ms', '1');
        answer.end('{"key": "value"}');
      });
    });
    server.on('error', resolve);
    server.listen(0, '127.0.0.1', async () => {
      [HOST, PORT] = ['127.0.0.1', String(server.address().port)];
      try {
        for (let round = 0; round < 4; round++) {
          const next = await request('GET', 'invocation/next');
          contextOf(next.headers);
          const event = JSON.parse(next.body.toString('utf8'));
          await call(require('./warm.js').handler, event, {});
          require('util').format('%s %j', 'a', event);
          await request('POST', 'invocation/none/response', JSON.stringify(event), { 'Content-Type': 'application/json' });
        }
        delete require.cache[require.resolve('./warm.js')];
      } catch (error) {
        // A start that is not warm is slower, and right all the same.
      }
      agent.destroy();
      agent = newAgent();
      server.close(resolve);
    });
  });
}

// One log event, however many lines it has.
function record(text) {
  const data = Buffer.from(text, 'utf8');
  const head = Buffer.from('\u001ePLR\0\0\0\0', 'latin1');
  head.writeUInt32BE(data.length, 4);
  let whole = Buffer.concat([head, data]);
  while (whole.length > 0) {
    try {
      whole = whole.subarray(fs.writeSync(1, whole));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function log(level, values) {
  if (IS_JSON) {
    if (LEVELS[level] < LEAST) return;
    const entry = { timestamp: new Date().toISOString(), level, requestId };
    const only = values.length === 1 ? values[0] : undefined;
    if (only !== null && typeof only === 'object' && !(only instanceof Error)) entry.message = only;
    else entry.message = require('util').format(...values);
    const error = values.find((value) => value instanceof Error);
    if (error) Object.assign(entry, { errorType: error.name, errorMessage: error.message, stackTrace: String(error.stack).split('\n') });
    record(JSON.stringify(entry));
    return;
  }
  record(`${new Date().toISOString()}\t${requestId}\t${level}\t${require('util').format(...values)}`);
}

console.log = (...values) => log('INFO', values);
console.info = console.log;
console.debug = (...values) => log('DEBUG', values);
console.trace = (...values) => log('TRACE', values);
console.warn = (...values) => log('WARN', values);
console.error = (...values) => log('ERROR', values);

function newAgent() {
  const made = new http.Agent({ keepAlive: true, maxSockets: 2 });
  made.createConnection = (options, done) => {
    const socket = net.createConnection(options, done);
    socket.setNoDelay(true);
    return socket;
  };
  return made;
}

let agent = newAgent();

function request(method, name, body, headers) {
  return new Promise((resolve, reject) => {
    const options = { host: HOST, port: PORT, method, agent, path: '/2018-06-01/runtime/' + name, headers: headers || {} };
    if (body !== undefined) options.headers['Content-Length'] = Buffer.byteLength(body);
    const sent = http.request(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function describe(error) {
  if (error instanceof Error || (error && typeof error === 'object' && error.stack && error.message !== undefined)) {
    return { errorType: error.name, errorMessage: error.message, trace: String(error.stack).split('\n') };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function sendError(name, error) {
  const value = describe(error);
  return request('POST', name, JSON.stringify(value), {
    'Content-Type': 'application/json',
    'Lambda-Runtime-Function-Error-Type': encodeURI(String(value.errorType)),
  });
}

function fault(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

async function loadHandler() {
  const whole = process.env._HANDLER;
  const folder = path.dirname(whole);
  const [file, ...names] = path.basename(whole).split('.');
  if (!file || names.length === 0) throw fault('Runtime.MalformedHandlerName', 'Bad handler');
  const base = path.resolve(TASK_ROOT, folder, file);
  let module;
  try {
    if (fs.existsSync(base + '.mjs')) module = await import(base + '.mjs');
    else {
      const found = fs.existsSync(base + '.js') ? base + '.js' : require.resolve(fs.existsSync(base + '.cjs') ? base + '.cjs' : base, { paths: [TASK_ROOT] });
      module = isModule(found) ? await import(found) : require(found);
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw Object.assign(fault('Runtime.UserCodeSyntaxError', `SyntaxError: ${error.message}`), { stack: error.stack });
    if (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND') {
      throw Object.assign(fault('Runtime.ImportModuleError', `Error: ${error.message}`), { stack: error.stack });
    }
    throw error;
  }
  const find = (from) => names.reduce((value, name) => value && value[name], from);
  const handler = find(module) || (module.default && find(module.default));
  if (!handler) throw fault('Runtime.HandlerNotFound', `${whole} is undefined or not exported`);
  if (typeof handler !== 'function') throw fault('Runtime.HandlerNotFound', `${whole} is not a function`);
  return handler;
}

// A `.js` file is an ECMAScript module when the nearest package.json says so.
function isModule(file) {
  for (let folder = path.dirname(file); folder.startsWith(TASK_ROOT); folder = path.dirname(folder)) {
    const found = path.join(folder, 'package.json');
    if (fs.existsSync(found)) return file.endsWith('.js') && JSON.parse(fs.readFileSync(found, 'utf8')).type === 'module';
  }
  return false;
}

function contextOf(headers) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const parsed = (name) => (headers[name] ? JSON.parse(Buffer.from(headers[name], 'latin1').toString('utf8')) : undefined);
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parsed('lambda-runtime-client-context'),
    identity: parsed('lambda-runtime-cognito-identity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

// Streaming: `awslambda.streamifyResponse` and `HttpResponseStream` as functions find them in AWS.
const STREAMS = Symbol.for('aws.lambda.runtime.handler.streaming');
globalThis.awslambda = {
  streamifyResponse(handler, options) {
    handler[STREAMS] = (options && options.highWaterMark) || true;
    return handler;
  },
  HttpResponseStream: {
    from(stream, prelude) {
      stream.setContentType('application/vnd.awslambda.http-integration-response');
      stream._prelude = JSON.stringify(prelude);
      return stream;
    },
  },
};

function responseStream(id) {
  const { Writable } = require('stream');
  let sent;
  let contentType;
  const finished = {};
  finished.promise = new Promise((resolve, reject) => Object.assign(finished, { resolve, reject }));
  const open = () => {
    if (sent) return sent;
    const headers = { 'Lambda-Runtime-Function-Response-Mode': 'streaming', 'Transfer-Encoding': 'chunked', 'Content-Type': contentType || 'application/octet-stream' };
    headers.Trailer = 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body';
    sent = http.request({ host: HOST, port: PORT, method: 'POST', agent, path: `/2018-06-01/runtime/invocation/${id}/response`, headers }, (response) => {
      response.resume();
      response.on('end', finished.resolve);
    });
    sent.on('error', finished.reject);
    if (stream._prelude !== undefined) {
      sent.write(stream._prelude);
      sent.write(Buffer.alloc(8));
    }
    return sent;
  };
  const stream = new Writable({
    write(part, encoding, done) {
      open().write(part, encoding, done);
    },
    final(done) {
      open().end(done);
    },
  });
  stream.setContentType = (type) => { contentType = type; };
  stream.finished = finished.promise;
  stream.hasBegun = () => sent !== undefined;
  stream.fail = (error) => {
    const value = describe(error);
    open().addTrailers({
      'Lambda-Runtime-Function-Error-Type': String(value.errorType),
      'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(value)).toString('base64'),
    });
    sent.end();
    return finished.promise;
  };
  return stream;
}

// A handler answers by its promise, or by a callback; then, unless told otherwise, when the event loop is empty.
function call(handler, event, context) {
  return new Promise((resolve, reject) => {
    const finish = (error, result) => {
      const settle = () => (error !== undefined && error !== null ? reject(error) : resolve(result));
      if (context.callbackWaitsForEmptyEventLoop) process.once('beforeExit', settle);
      else settle();
    };
    context.succeed = (result) => resolve(result);
    context.fail = (error) => reject(error === undefined || error === null ? 'handled' : error);
    context.done = (error, result) => (error ? context.fail(error) : context.succeed(result));
    const returned = handler(event, context, finish);
    if (returned && typeof returned.then === 'function') returned.then(resolve, reject);
    else if (handler.length < 3 && returned !== undefined) resolve(returned);
    else if (handler.length < 3) process.once('beforeExit', () => resolve(undefined));
  });
}

async function serveOne(handler) {
  const next = await request('GET', 'invocation/next');
  if (next.status !== 200) process.exit(1);
  const id = next.headers['lambda-runtime-aws-request-id'];
  requestId = id;
  process.env._X_AMZN_TRACE_ID = next.headers['lambda-runtime-trace-id'] || '';
  const context = contextOf(next.headers);
  let stream;
  try {
    const event = JSON.parse(next.body.toString('utf8'));
    if (handler[STREAMS]) {
      stream = responseStream(id);
      await handler(event, stream, context);
      await stream.finished;
      return;
    }
    const result = await call(handler, event, context);
    let text;
    try {
      text = JSON.stringify(result === undefined ? null : result);
    } catch (error) {
      throw fault('Runtime.MarshalError', `Unable to stringify response body: ${error.message}`);
    }
    await request('POST', `invocation/${id}/response`, text === undefined ? 'null' : text, { 'Content-Type': 'application/json' });
  } catch (error) {
    const value = describe(error);
    if (IS_JSON) log('ERROR', [error]);
    else record(`${new Date().toISOString()}\t${id}\tERROR\tInvoke Error \t${JSON.stringify({ errorType: value.errorType, errorMessage: value.errorMessage, stack: value.trace })}`);
    if (stream && stream.hasBegun()) await stream.fail(error);
    else await sendError(`invocation/${id}/error`, error);
  }
}

async function main() {
  if (process.argv.includes('--wait')) {
    await warmUp();
    awaitFunction();
  }
  readVariables();
  process.chdir(TASK_ROOT);
  let handler;
  try {
    handler = await loadHandler();
  } catch (error) {
    const value = describe(error);
    record(`${new Date().toISOString()}\tundefined\tERROR\tUncaught Exception \t${JSON.stringify({ errorType: value.errorType, errorMessage: value.errorMessage, stack: value.trace })}`);
    await sendError('init/error', error);
    process.exit(1);
  }
  // `exit` after `uncaught`: a function's stray error ends its runtime, as in AWS.
  process.on('uncaughtException', (error) => stray('Uncaught Exception', error));
  process.on('unhandledRejection', (error) => {
    const wrapped = fault('Runtime.UnhandledPromiseRejection', String(error));
    stray('Unhandled Promise Rejection', wrapped);
  });
  for (;;) await serveOne(handler);
}

function stray(what, error) {
  const value = describe(error);
  record(`${new Date().toISOString()}\t${requestId}\tERROR\t${what} \t${JSON.stringify({ errorType: value.errorType, errorMessage: value.errorMessage, stack: value.trace })}`);
  const sent = requestId ? sendError(`invocation/${requestId}/error`, error) : sendError('init/error', error);
  sent.finally(() => process.exit(128));
}

main();
