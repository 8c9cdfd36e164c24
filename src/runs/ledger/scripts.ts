/**
 * The steps that must be atomic. Redis does not roll a script back, so each one checks first and writes after. Where memory is out, it
 * refuses a script at its first write, but only if that one could need memory: so none begins with a DEL or a PERSIST.
 * KEYS are always those of `runKeys`, in that order: 1 run, 2 plan, 3 receipts, 4 failed, 5 labels, 6 error codes, 7 devices, 8 first errors,
 * 9 passed over.
 */

/**
 * ARGV: time, output. The run is known from here on, and to be planned: one that ended badly, or was left, is taken up again. Whether
 * it may be, TRANSITION says for all others; here only what nobody began is begun.
 */
const SUBMIT = `
if redis.call('HSETNX', KEYS[1], 'state', 'planning') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'output', ARGV[2], 'createdAt', ARGV[1], 'begunAt', redis.call('TIME')[1], 'begunRows', '0')
return 1`;

/**
 * ARGV: time, output, model's id, model's digest, lane, most errors ('' for any number). A run that is there keeps what it holds; one
 * that ended badly, or was left, is planned again; one that is paused stays so. Returns its state before, whether its plan was whole,
 * and the place up to which it was planned.
 */
const BEGIN = `
local run = redis.call('HMGET', KEYS[1], 'state', 'planDone', 'next')
redis.call('HSET', KEYS[1], 'state', run[1] == 'paused' and 'paused' or 'planning', 'output', ARGV[2], 'planDone', '0', 'model', ARGV[3], 'digest', ARGV[4], 'lane', ARGV[5], 'maxErrors', ARGV[6])
for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end
redis.call('HSETNX', KEYS[1], 'createdAt', ARGV[1])
redis.call('DEL', KEYS[4])
redis.call('HDEL', KEYS[1], 'reason', 'firstFailure')
redis.call('HSET', KEYS[1], 'failed', '0', 'failedInRow', '0')
for _, counter in ipairs({'items', 'committed', 'rows', 'errors', 'bytes', 'inferMs'}) do redis.call('HSETNX', KEYS[1], counter, '0') end
redis.call('HSET', KEYS[1], 'begunAt', redis.call('TIME')[1], 'begunRows', redis.call('HGET', KEYS[1], 'rows'))
return {run[1], run[2], run[3]}`;

/** Rows in error from which on a share of them says something. */
const TELLING_ROWS = 1000;

/** Slices that fail for good, none done between, from which on the others would too: the disk is full, the input another. */
const FAILED_IN_ROW = 20;

/**
 * `complete`: no slice of the run is open. `tooMany`: it has more rows in error than it may have, and has failed by that. `hopeless`: so
 * many slices failed in a row that it has.
 */
const ENDS = `
local function complete()
  local run = redis.call('HMGET', KEYS[1], 'planDone', 'slices', 'committed', 'failed')
  return run[1] == '1' and tonumber(run[3]) + tonumber(run[4]) == tonumber(run[2])
end
local function tooMany()
  local run = redis.call('HMGET', KEYS[1], 'maxErrors', 'rows', 'errors', 'state')
  if not run[1] or run[1] == '' or (run[4] ~= 'planning' and run[4] ~= 'running' and run[4] ~= 'paused') then return false end
  local rows, errors = tonumber(run[2]), tonumber(run[3])
  local percent = string.match(run[1], '^(.*)%%$')
  if percent then
    if (rows < ${TELLING_ROWS} and not complete()) or errors * 100 <= tonumber(percent) * rows then return false end
  elseif errors <= tonumber(run[1]) then return false end
  redis.call('HSET', KEYS[1], 'state', 'failed', 'changedAt', redis.call('TIME')[1], 'reason',
    'TOO_MANY_ERRORS: ' .. run[3] .. ' of ' .. run[2] .. ' rows are in error, at most ' .. run[1] .. ' may be')
  return true
end
local function hopeless(failure)
  local run = redis.call('HMGET', KEYS[1], 'failedInRow', 'state')
  if tonumber(run[1] or '0') < ${FAILED_IN_ROW} or complete() or (run[2] ~= 'planning' and run[2] ~= 'running') then return false end
  local last = cjson.decode(failure)
  redis.call('HSET', KEYS[1], 'state', 'failed', 'changedAt', redis.call('TIME')[1], 'reason',
    'TOO_MANY_FAILURES: ' .. run[1] .. ' slices in a row failed for good, the last of them with ' .. last.code .. ': ' .. last.message)
  return true
end
local function ended(outcome, failure)
  local stopped = tooMany() or (failure and hopeless(failure))
  return {outcome, not stopped and complete() and 1 or 0, stopped and 1 or 0}
end`;

/** ARGV: slices, items. All slices are in the plan: from here on the run can be complete. Returns [, complete, stopped]. */
const PLAN_DONE = `${ENDS}
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'planning' and state ~= 'paused' then return {'', 0, 0} end
redis.call('HSET', KEYS[1], 'planDone', '1', 'slices', ARGV[1], 'items', ARGV[2], 'state', state == 'paused' and 'paused' or 'running')
return ended('')`;

/**
 * ARGV: slice, receipt, rows, errors, bytes, ms on devices, numbers of devices, labels and codes, (device, reason)…, (label, count)…,
 * (code, count)…, error…
 * The receipt and the run's counters in one step, once: a second commit changes nothing. Returns [outcome, complete, stopped].
 */
const COMMIT = `${ENDS}
if redis.call('EXISTS', KEYS[1]) == 0 then return {'unknown', 0, 0} end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return {'again', complete() and 1 or 0, 0} end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'unplanned', 0, 0} end
if redis.call('HEXISTS', KEYS[4], ARGV[1]) == 1 then return {'failed', complete() and 1 or 0, 0} end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'committed', 1)
redis.call('HSET', KEYS[1], 'failedInRow', '0')
redis.call('HINCRBY', KEYS[1], 'rows', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'errors', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'bytes', ARGV[5])
redis.call('HINCRBYFLOAT', KEYS[1], 'inferMs', ARGV[6])
local labels = 10 + 2 * tonumber(ARGV[7])
local codes = labels + 2 * tonumber(ARGV[8])
local errors = codes + 2 * tonumber(ARGV[9])
for i = 10, labels - 2, 2 do redis.call('HSETNX', KEYS[7], ARGV[i], ARGV[i + 1]) end
for i = labels, errors - 2, 2 do redis.call('HINCRBY', i < codes and KEYS[5] or KEYS[6], ARGV[i], ARGV[i + 1]) end
local room = 10 - redis.call('LLEN', KEYS[8])
for i = errors, math.min(#ARGV, errors + room - 1) do redis.call('RPUSH', KEYS[8], ARGV[i]) end
return ended('committed')`;

/** ARGV: slice, reason. The slice's other end: failed for good. Returns [outcome, complete, stopped]. */
const FAIL = `${ENDS}
if redis.call('EXISTS', KEYS[1]) == 0 then return {'unknown', 0, 0} end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'unplanned', 0, 0} end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return {'committed', complete() and 1 or 0, 0} end
if redis.call('HSETNX', KEYS[4], ARGV[1], ARGV[2]) == 1 then
  redis.call('HSETNX', KEYS[1], 'firstFailure', ARGV[2])
  redis.call('HINCRBY', KEYS[1], 'failed', 1)
  redis.call('HINCRBY', KEYS[1], 'failedInRow', 1)
end
return ended('failed', ARGV[2])`;

/** ARGV: the new state, the reason for it ('' for none), then the states it may follow. Returns 1 if the run is in the new state now. */
const TRANSITION = `
local state = redis.call('HGET', KEYS[1], 'state')
for i = 3, #ARGV do
  if state == ARGV[i] then
    redis.call('HSET', KEYS[1], 'state', ARGV[1], 'changedAt', redis.call('TIME')[1])
    if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'reason', ARGV[2]) end
    return 1
  end
end
return 0`;

/** A paused run goes on where it was. Returns 1 if it was paused. */
const RESUME = `
local run = redis.call('HMGET', KEYS[1], 'state', 'planDone')
if run[1] ~= 'paused' then return 0 end
redis.call('HSET', KEYS[1], 'state', run[2] == '1' and 'running' or 'planning', 'changedAt', redis.call('TIME')[1])
return 1`;

export const RUN_SCRIPTS = {
  labelmillSubmit: SUBMIT,
  labelmillBegin: BEGIN,
  labelmillPlanDone: PLAN_DONE,
  labelmillCommit: COMMIT,
  labelmillFail: FAIL,
  labelmillTransition: TRANSITION,
  labelmillResume: RESUME,
};
