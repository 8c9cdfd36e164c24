/**
 * The steps that must be atomic, in Lua. Redis does not roll back a script, so each script checks first and writes after. When Redis is
 * out of memory, it refuses a script at its first write if that command could need memory. So no script begins with DEL or PERSIST.
 *
 * `keys` has the keys of the run (`keys.ts`), `args` the arguments below.
 */

/** A name, its value, the next name, its value, … */
type Pairs = readonly string[];

export type ScriptArgs = {
  labelmillSubmit: { time: string; output: string };
  /** `maxErrors`: a count, a percentage (`5%`), or empty for no limit. */
  labelmillBegin: { time: string; output: string; model: string; digest: string; lane: string; maxErrors: string };
  labelmillPlanDone: { slices: string; items: string };
  labelmillCommit: {
    slice: string;
    receipt: string;
    rows: string;
    errors: string;
    bytes: string;
    /** Milliseconds, decimal. */
    inferMs: string;
    devices: Pairs;
    labels: Pairs;
    codes: Pairs;
    firstErrors: readonly string[];
  };
  /** `failure`: the JSON text to store, with the same code and message. */
  labelmillFail: { slice: string; failure: string; code: string; message: string };
  /** `reason`: empty for none. `from`: the states that `state` may follow. */
  labelmillTransition: { state: string; reason: string; from: readonly string[] };
  labelmillResume: Record<string, never>;
};

export type ScriptName = keyof ScriptArgs;

/** `fields`: some fields of the run's hash, by name. A missing field is false. */
const FIELDS = `
local function fields(...)
  local values, found = redis.call('HMGET', keys.run, ...), {}
  for i, name in ipairs({...}) do found[name] = values[i] end
  return found
end`;

/**
 * Makes a run known, in the state `planning`. Returns 1, or 0 if Redis knows the run already. Then TRANSITION decides whether it may be
 * planned again.
 */
const SUBMIT = `
if redis.call('HSETNX', keys.run, 'state', 'planning') == 0 then return 0 end
redis.call('HSET', keys.run, 'output', args.output, 'createdAt', args.time, 'begunAt', redis.call('TIME')[1], 'begunRows', '0')
return 1`;

/**
 * Opens a run for planning. A run that exists keeps its counters and receipts; its failed slices get another try. A paused run stays
 * paused. Returns the state before, whether the plan was complete, and the place at which planning continues.
 */
const BEGIN = `${FIELDS}
local run = fields('state', 'planDone', 'next')
redis.call('HSET', keys.run, 'state', run.state == 'paused' and 'paused' or 'planning', 'output', args.output, 'planDone', '0',
  'model', args.model, 'digest', args.digest, 'lane', args.lane, 'maxErrors', args.maxErrors)
for _, key in pairs(keys) do redis.call('PERSIST', key) end
redis.call('HSETNX', keys.run, 'createdAt', args.time)
redis.call('DEL', keys.failed)
redis.call('HDEL', keys.run, 'reason', 'firstFailure')
redis.call('HSET', keys.run, 'failed', '0', 'failedInRow', '0')
for _, counter in ipairs({'items', 'committed', 'rows', 'errors', 'bytes', 'inferMs'}) do redis.call('HSETNX', keys.run, counter, '0') end
redis.call('HSET', keys.run, 'begunAt', redis.call('TIME')[1], 'begunRows', redis.call('HGET', keys.run, 'rows'))
return {run.state, run.planDone, run.next}`;

/** Minimum rows before a percentage `maxErrors` applies to a run that is not complete. */
const MIN_ROWS_FOR_PERCENTAGE = 1000;

/** A run fails after this many permanent slice failures without a commit between: the disk is full, or the input has changed. */
const MAX_CONSECUTIVE_FAILURES = 20;

/** Rows in error that are kept as examples while a run is running. */
export const MAX_FIRST_ERRORS = 10;

/**
 * `progress`: what decides whether a run ends. `complete`: every slice has ended. `tooMany`: more rows are in error than allowed.
 * `hopeless`: too many slices in a row have failed. Both return the reason, or nil. `ended`: the reply [outcome, complete, stopped] after a
 * change; it marks the run as failed if there is a reason.
 */
const ENDS = `${FIELDS}
local function progress()
  return fields('state', 'planDone', 'slices', 'committed', 'failed', 'failedInRow', 'maxErrors', 'rows', 'errors')
end
local function complete(run)
  return run.planDone == '1' and tonumber(run.committed) + tonumber(run.failed) == tonumber(run.slices)
end
local function tooMany(run)
  if not run.maxErrors or run.maxErrors == '' then return end
  if run.state ~= 'planning' and run.state ~= 'running' and run.state ~= 'paused' then return end
  local rows, errors = tonumber(run.rows), tonumber(run.errors)
  local percent = string.match(run.maxErrors, '^(.*)%%$')
  if percent then
    if (rows < ${MIN_ROWS_FOR_PERCENTAGE} and not complete(run)) or errors * 100 <= tonumber(percent) * rows then return end
  elseif errors <= tonumber(run.maxErrors) then return end
  return 'TOO_MANY_ERRORS: ' .. run.errors .. ' of ' .. run.rows .. ' rows are in error; the maximum is ' .. run.maxErrors
end
local function hopeless(run)
  if tonumber(run.failedInRow or '0') < ${MAX_CONSECUTIVE_FAILURES} or complete(run) then return end
  if run.state ~= 'planning' and run.state ~= 'running' then return end
  return 'TOO_MANY_FAILURES: ' .. run.failedInRow .. ' consecutive slices failed permanently, the last one with ' .. args.code .. ': ' .. args.message
end
local function ended(outcome)
  local run = progress()
  local reason = tooMany(run) or (outcome == 'failed' and hopeless(run))
  if not reason then return {outcome, complete(run) and 1 or 0, 0} end
  redis.call('HSET', keys.run, 'state', 'failed', 'changedAt', redis.call('TIME')[1], 'reason', reason)
  return {outcome, 0, 1}
end`;

/** Marks the plan as complete: from now on the run can be complete. Returns [, complete, stopped]. */
const PLAN_DONE = `${ENDS}
local state = redis.call('HGET', keys.run, 'state')
if state ~= 'planning' and state ~= 'paused' then return {'', 0, 0} end
redis.call('HSET', keys.run, 'planDone', '1', 'slices', args.slices, 'items', args.items, 'state', state == 'paused' and 'paused' or 'running')
return ended('')`;

/** Stores the receipt and adds to the counters, once: a second commit changes nothing. Returns [outcome, complete, stopped]. */
const COMMIT = `${ENDS}
if redis.call('EXISTS', keys.run) == 0 then return {'unknown', 0, 0} end
if redis.call('HEXISTS', keys.receipts, args.slice) == 1 then return {'again', complete(progress()) and 1 or 0, 0} end
if redis.call('HEXISTS', keys.plan, args.slice) == 0 then return {'unplanned', 0, 0} end
if redis.call('HEXISTS', keys.failed, args.slice) == 1 then return {'failed', complete(progress()) and 1 or 0, 0} end
redis.call('HSET', keys.receipts, args.slice, args.receipt)
redis.call('HINCRBY', keys.run, 'committed', 1)
redis.call('HSET', keys.run, 'failedInRow', '0')
redis.call('HINCRBY', keys.run, 'rows', args.rows)
redis.call('HINCRBY', keys.run, 'errors', args.errors)
redis.call('HINCRBY', keys.run, 'bytes', args.bytes)
redis.call('HINCRBYFLOAT', keys.run, 'inferMs', args.inferMs)
local function each(command, key, pairs)
  for i = 1, #pairs, 2 do redis.call(command, key, pairs[i], pairs[i + 1]) end
end
each('HSETNX', keys.devices, args.devices)
each('HINCRBY', keys.labels, args.labels)
each('HINCRBY', keys.codes, args.codes)
local room = ${MAX_FIRST_ERRORS} - redis.call('LLEN', keys.firstErrors)
for i = 1, math.min(#args.firstErrors, room) do redis.call('RPUSH', keys.firstErrors, args.firstErrors[i]) end
return ended('committed')`;

/** Marks a slice as failed permanently, once. Returns [outcome, complete, stopped]. */
const FAIL = `${ENDS}
if redis.call('EXISTS', keys.run) == 0 then return {'unknown', 0, 0} end
if redis.call('HEXISTS', keys.plan, args.slice) == 0 then return {'unplanned', 0, 0} end
if redis.call('HEXISTS', keys.receipts, args.slice) == 1 then return {'committed', complete(progress()) and 1 or 0, 0} end
if redis.call('HSETNX', keys.failed, args.slice, args.failure) == 1 then
  redis.call('HSETNX', keys.run, 'firstFailure', args.failure)
  redis.call('HINCRBY', keys.run, 'failed', 1)
  redis.call('HINCRBY', keys.run, 'failedInRow', 1)
end
return ended('failed')`;

/** Moves a run to another state. Returns 1 if the run is in the new state now, else 0. */
const TRANSITION = `
local before = redis.call('HGET', keys.run, 'state')
for _, state in ipairs(args.from) do
  if before == state then
    redis.call('HSET', keys.run, 'state', args.state, 'changedAt', redis.call('TIME')[1])
    if args.reason ~= '' then redis.call('HSET', keys.run, 'reason', args.reason) end
    return 1
  end
end
return 0`;

/** Resumes a paused run. Returns 1, or 0 if it is not paused. */
const RESUME = `${FIELDS}
local run = fields('state', 'planDone')
if run.state ~= 'paused' then return 0 end
redis.call('HSET', keys.run, 'state', run.planDone == '1' and 'running' or 'planning', 'changedAt', redis.call('TIME')[1])
return 1`;

export const RUN_SCRIPTS: Readonly<Record<ScriptName, string>> = {
  labelmillSubmit: SUBMIT,
  labelmillBegin: BEGIN,
  labelmillPlanDone: PLAN_DONE,
  labelmillCommit: COMMIT,
  labelmillFail: FAIL,
  labelmillTransition: TRANSITION,
  labelmillResume: RESUME,
};
