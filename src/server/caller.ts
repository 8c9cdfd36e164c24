/** What a key may do. `submit` includes reading the runs that the key submitted. `admin` may do everything, with all runs. */
export const SCOPES = ["submit", "read", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

/** The process that sent a request. */
export type Caller = {
  /** Owns the runs that it submits: the id of its key, or `-` where the server runs without keys. */
  owner: string;
  scopes: ReadonlySet<Scope>;
  /** The id of its key. Omitted where the server runs without keys. */
  key?: string;
};

/** The caller where the server runs without keys: any process of this machine. */
export const LOCAL_CALLER: Caller = { owner: "-", scopes: new Set(SCOPES) };

/** Whether a caller may use a route with this scope. */
export function hasScope({ scopes }: Caller, scope: Scope): boolean {
  return scopes.has(scope) || scopes.has("admin") || (scope === "read" && scopes.has("submit"));
}

/** Whether a caller may know of a run of this owner. If not, its route answers 404. */
export function mayRead(caller: Caller, owner: string): boolean {
  return caller.owner === owner || caller.scopes.has("admin");
}
