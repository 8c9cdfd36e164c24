/** The inference thread that runs models in onnxruntime. */
import { openOnnxSession } from "../onnx/session.ts";
import { serveSession } from "./serve-session.ts";

await serveSession(openOnnxSession);
