/**
 * The steps that must be atomic. Redis does not roll a script back, so each one checks first and writes after. Where memory is out, it
 * refuses a script at its first write, but only if that one could need memory: so none begins with a DEL or a PERSIST.
 * KEYS are always those of `runKeys`, in that order: 1 run, 2 plan, 3 receipts, 4 failed, 5 labels, 6 error codes, 7 devices.
 */

/**
 * ARGV: time, output, model's id, model's digest, lane. A run that is there keeps what it holds; one that ended badly, or was left,
 * is planned again.
 */
const BEGIN = `
local state = redis.call('HGET', KEYS[1], 'state')
redis.call('HSET', KEYS[1], 'state', 'planning', 'output', ARGV[2], 'planDone', '0', 'model', ARGV[3], 'digest', ARGV[4], 'lane', ARGV[5])
for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end
redis.call('HSETNX', KEYS[1], 'createdAt', ARGV[1])
redis.call('DEL', KEYS[4])
redis.call('HDEL', KEYS[1], 'reason')
redis.call('HSET', KEYS[1], 'failed', '0')
for _, counter in ipairs({'items', 'committed', 'rows', 'errors', 'bytes'}) do redis.call('HSETNX', KEYS[1], counter, '0') end
redis.call('HSET', KEYS[1], 'begunAt', redis.call('TIME')[1], 'begunRows', redis.call('HGET', KEYS[1], 'rows'))
return state`;

/** ARGV: slices, items. All slices are in the plan: from here on the run can be complete. Returns 1 if it is. */
const PLAN_DONE = `
if redis.call('HGET', KEYS[1], 'state') ~= 'planning' then return 0 end
redis.call('HSET', KEYS[1], 'planDone', '1', 'slices', ARGV[1], 'items', ARGV[2], 'state', 'running')
if tonumber(redis.call('HGET', KEYS[1], 'committed')) + tonumber(redis.call('HGET', KEYS[1], 'failed')) == tonumber(ARGV[1]) then return 1 end
return 0`;

const IS_COMPLETE = `
local function complete()
  local run = redis.call('HMGET', KEYS[1], 'planDone', 'slices', 'committed', 'failed')
  return run[1] == '1' and tonumber(run[3]) + tonumber(run[4]) == tonumber(run[2])
end`;

/**
 * ARGV: slice, receipt, rows, errors, bytes, numbers of devices and of labels, (device, reason)…, (label, count)…, (code, count)…
 * The receipt and the run's counters in one step, once: a second commit changes nothing. Returns [outcome, complete].
 */
const COMMIT = `${IS_COMPLETE}
if redis.call('EXISTS', KEYS[1]) == 0 then return {'unknown', 0} end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return {'again', complete() and 1 or 0} end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'unplanned', 0} end
if redis.call('HEXISTS', KEYS[4], ARGV[1]) == 1 then return {'failed', complete() and 1 or 0} end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'committed', 1)
redis.call('HINCRBY', KEYS[1], 'rows', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'errors', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'bytes', ARGV[5])
local labels = 8 + 2 * tonumber(ARGV[6])
local codes = labels + 2 * tonumber(ARGV[7])
for i = 8, labels - 2, 2 do redis.call('HSETNX', KEYS[7], ARGV[i], ARGV[i + 1]) end
for i = labels, #ARGV, 2 do redis.call('HINCRBY', i < codes and KEYS[5] or KEYS[6], ARGV[i], ARGV[i + 1]) end
return {'committed', complete() and 1 or 0}`;

/** ARGV: slice, reason. The slice's other end: failed for good. Returns [outcome, complete]. */
const FAIL = `${IS_COMPLETE}
if redis.call('EXISTS', KEYS[1]) == 0 then return {'unknown', 0} end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return {'unplanned', 0} end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return {'committed', complete() and 1 or 0} end
if redis.call('HSETNX', KEYS[4], ARGV[1], ARGV[2]) == 1 then redis.call('HINCRBY', KEYS[1], 'failed', 1) end
return {'failed', complete() and 1 or 0}`;

/** ARGV: the new state, then the states it may follow. Returns 1 if the run is in the new state now. */
const TRANSITION = `
local state = redis.call('HGET', KEYS[1], 'state')
for i = 2, #ARGV do
  if state == ARGV[i] then
    redis.call('HSET', KEYS[1], 'state', ARGV[1], 'changedAt', redis.call('TIME')[1])
    return 1
  end
end
return 0`;

export const RUN_SCRIPTS = {
  labelmillBegin: BEGIN,
  labelmillPlanDone: PLAN_DONE,
  labelmillCommit: COMMIT,
  labelmillFail: FAIL,
  labelmillTransition: TRANSITION,
};
