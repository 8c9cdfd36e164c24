import { isCurrent } from "../../fleet/registry.ts";
import { JOB_VERSION } from "../../schemas/names.ts";
import {
  type DeliveryCounts,
  type ModelWork,
  type OutageInfo,
  type ServedModel,
  STAGES,
  type Stage,
  type WorkerInfo,
} from "../../schemas/worker.ts";
import { clock, spoken } from "../../storage/health/outage-lines.ts";

/** The lines of `status` about a worker: for each model a line, and indented lines about its work. */
export function workerLines(worker: WorkerInfo): string[] {
  const { id, host, pid, models, deviceReason, outages = [], deliveries } = worker;
  const lines = models.flatMap((model) => [
    `${id}  ${host}:${pid}  ${headOf(model)}`,
    ...(model.work ? workLines(model.work) : []).map((line) => `  ${line}`),
  ]);
  const device = deviceReason === undefined ? [] : [`  on ${models[0]!.device}: ${deviceReason}`];
  const outdated = isCurrent(worker) ? [] : [`  takes no jobs of version ${JOB_VERSION}: update labelmill there`];
  const delivered = deliveries ? [`  ${deliveryLine(deliveries)}`] : [];
  return [...lines, ...device, ...outdated, ...delivered, ...outages.map((outage) => `  ${outageLine(outage)}`)];
}

function outageLine({ place, since, nextTryAt, reason, kept }: OutageInfo): string {
  const retry = spoken(Math.max(0, Date.parse(nextTryAt) - Date.now()));
  return `store ${place} has been unavailable since ${clock(new Date(since))}: ${reason}; ${kept} labeled slices kept, next try in ${retry}`;
}

function deliveryLine({ sidecars, tags, lastRefused }: DeliveryCounts): string {
  const counts = Object.entries({ sidecars, tags }).map(([to, found]) => {
    const some = Object.entries(found).flatMap(([what, count]) => (count > 0 ? [`${count} ${what}`] : []));
    return some.length > 0 ? `${to}: ${some.join(", ")}` : "";
  });
  const refused = lastRefused ? `last refused: ${lastRefused.uri} (${lastRefused.code})` : "";
  return [...counts, refused].filter((part) => part !== "").join(" · ");
}

function headOf({ id, digest, device, slots, itemsPerSecond, batches, items, held, work }: ServedModel): string {
  const rate = itemsPerSecond === null ? "rate not measured yet" : `${itemsPerSecond} items/s`;
  const mean = batches > 0 ? `, ${(items / batches).toFixed(1)} items a batch` : "";
  const waiting = work ? ` (${work.depth} waiting)` : "";
  return `${id}@${digest.slice(0, 8)} on ${device}, ${slots} slots, ${rate}${mean}, ${held} items in work${waiting}`;
}

function workLines(work: ModelWork): string[] {
  const { busy, threads, intraOpThreads, paddingEfficiency, cuts, budgets, settled, stages } = work;
  const found = Object.entries(budgets).map(([length, budget]) => `${budget} (up to ${length})`);
  const shares = [
    `busy ${percent(busy.lastMinute)} of the last minute, ${percent(busy.sinceStart)} since the start`,
    `padding efficiency ${percent(paddingEfficiency)}`,
    `cut ${cutsOf(cuts)}`,
  ];
  const layout = `threads ${threads} × ${intraOpThreads}, budgets ${found.join(", ") || "none yet"}, ${settled ? "settled" : "still searching"}`;
  return [shares.join(" · "), layout, ...stageLine(stages)];
}

function cutsOf({ full, drained, lengths }: ModelWork["cuts"]): string {
  const all = full + drained + lengths;
  if (all === 0) return "nothing yet";
  const [ofFull, ofDrained, ofLengths] = [full, drained, lengths].map((count) => percent(count / all));
  return `${ofFull} full, ${ofDrained} drained, ${ofLengths} lengths`;
}

/** Empty until a stage has processed an item. */
function stageLine(stages: ModelWork["stages"]): string[] {
  const means = (Object.keys(STAGES) as Stage[]).flatMap((stage) => {
    const { meanMs } = stages[stage];
    return meanMs === null ? [] : `${stage} ${milliseconds(meanMs)}/${STAGES[stage]}`;
  });
  return means.length > 0 ? [`ms: ${means.join(" · ")}`] : [];
}

function milliseconds(ms: number): string {
  return ms >= 100 ? ms.toFixed(0) : ms >= 1 ? ms.toFixed(1) : ms.toFixed(3);
}

function percent(share: number | null): string {
  return share === null ? "–" : `${Math.round(share * 100)} %`;
}
