/** Words that are not plain technical English, and their replacements. A space in a pattern also matches a line break. */
export const WORDS: readonly { pattern: RegExp; instead: string }[] = [
  // Actors and what they do.
  { pattern: /mend(s|ed|ing)?/, instead: "fix" },
  { pattern: /whoever('s)?/, instead: "the actor: the caller, the worker, the user" },
  { pattern: /nobody('s)?/, instead: "the actor, or no one" },
  { pattern: /somebody('s)?/, instead: "the actor: a user, another process" },
  { pattern: /told/, instead: "reported, logged, passed, given, distinguished" },
  { pattern: /tell(s|ing)?/, instead: "report, show, say, log, ask, distinguish" },
  { pattern: /(is|are|was|were|be|been|being) said/, instead: "set, given, stated" },
  {
    pattern: /(says?|holds?|speaks?) of (it|them|a|an|the|each|its|runs|this|that)/,
    instead: "says about, stores for",
  },
  { pattern: /(is|are|was|were|be|been|being) asked for/, instead: "requested, required, set" },
  { pattern: /(heard|hears?) of/, instead: "received, seen" },
  { pattern: /(is|are|was|were|be|been|being) heard/, instead: "received, handled" },
  { pattern: /(looks?|looked|looking) after/, instead: "handle" },
  { pattern: /lets? go of|letting go of/, instead: "release" },
  { pattern: /(is|are|was|were) let/, instead: "allowed" },
  { pattern: /(holds?|held) (that|the two|to it|it to)|(is|are) held to/, instead: "checks, is checked against" },
  { pattern: /kept to/, instead: "limited to, allowed only in" },
  { pattern: /put together/, instead: "build, combine" },
  { pattern: /bears? (it|them|this|that) out/, instead: "confirm" },
  { pattern: /(take|takes|took|taken|taking)( \w+)? up again/, instead: "resume" },
  { pattern: /(goes?|going|went) round/, instead: "loop" },
  { pattern: /(breaks?|broke|broken|breaking) off/, instead: "stop early, abort" },

  // States.
  { pattern: /under way|underway/, instead: "running, in progress" },
  { pattern: /at work/, instead: "running, busy" },
  { pattern: /(is|are|was|were|be|been) gone/, instead: "lost, closed, deleted, no longer exists" },
  {
    pattern: /(store|stores|redis|server|hub|network|it|that|which) (is|are|was|were|goes|went) out(?! of|side)/,
    instead: "unavailable",
  },
  { pattern: /out of reach/, instead: "unreachable" },
  { pattern: /(stands|stood)(?! (for|in for|out|by))/, instead: "is, exists, is written" },
  {
    pattern: /(may|must|can|could|will|would|to|that|part|parts|files|rows|they|which) stand(?! (for|in for|out|by))/,
    instead: "is, exists, is written",
  },
  { pattern: /(is|are|was|were) through with/, instead: "finished" },
  { pattern: /at hand/, instead: "available" },
  {
    pattern: /(item|items|that|it) (is|are) well(?! (known|within|below|above|formed|defined|under|over))/,
    instead: "healthy, not at fault",
  },

  // Missing and received values.
  { pattern: /what (came|comes)/, instead: "got, the value received, the input" },
  { pattern: /(?<=, )came(?! (from|with|back))/, instead: "got" },
  { pattern: /there (is|are|was|were) none/, instead: "does not exist, unknown, missing" },
  { pattern: /none of it/, instead: "nothing, no part of it" },
  { pattern: /(to|be|cannot|could not|may|can|could) be had/, instead: "available, fetched" },
  { pattern: /to be had/, instead: "available, fetched" },
  { pattern: /(what|that|which) (is|are|was|were) no(?= )(?! (longer|more|less|such|other))/, instead: "is not a" },
  { pattern: /(?<!(is|not|->) )none:(?= [a-z])/, instead: "Default: …, or: If omitted, …" },
  { pattern: /there is no such/, instead: "does not exist" },

  // Adverbs and connectives.
  { pattern: /for good(?! (reason|measure|cause|luck|practice))/, instead: "permanently" },
  { pattern: /for ever/, instead: "forever, without end" },
  { pattern: /without a word/, instead: "silently" },
  { pattern: /anew/, instead: "again" },
  { pattern: /once more/, instead: "again" },
  { pattern: /again and again/, instead: "repeatedly" },
  { pattern: /in truth/, instead: "actually" },
  { pattern: /but for/, instead: "except for" },
  { pattern: /in all(?=[,.;:)]|$)/, instead: "in total" },
  { pattern: /some \d[\d,.]*/, instead: "about" },
  { pattern: /so many(?! \w+ that)/, instead: "this many, N, too many" },
  { pattern: /(of|in|from|by|to) whatever/, instead: "any" },
  { pattern: /here and now/, instead: "immediately" },
  { pattern: /a \w+ of (its|their) own/, instead: "its own …, a separate …" },
  { pattern: /(here|there|where)(of|in|upon|with|after)/, instead: "of what, in what" },
  {
    pattern: /(whence|thence|whither|hither|hitherto|forthwith|lest|ere|naught|nought|unto|amid|amongst|whilst)/,
    instead: "a common word",
  },
  {
    pattern: /(?<=(?:^|\n)\s*|[.:;|]\s)(?-i:Of) (a|an|the|each|all|its|what|those|whom) [^.;:|]*?,/,
    instead: "the subject first",
  },
];

/** Words that names of variables, functions, types and files must not have. Patterns get names in lower case, with spaces. */
export const NAME_WORDS: readonly { word: RegExp; instead: string }[] = [
  { word: /\bmend(s|ed|ing)?\b/, instead: "use fix" },
  { word: /\b(whoever|nobody|somebody)\b/, instead: "name the actor" },
  { word: /\b(told|tells?|telling|teller)\b/, instead: "use report, show, log, notify" },
  { word: /\bworlds?\b/, instead: "use deps or context" },
  { word: /\banew\b/, instead: "use again" },
  { word: /^(longest wait ms|soon ms)$/, instead: "say in the name what is waited for" },
];
