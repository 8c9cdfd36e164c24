import { type FieldRule, honoured, noEffect, noEffectOfOthers, only, refusedUnless } from "./field-rules.ts";
import { isObject } from "./json.ts";

/** Whether task-specific parameters, which take precedence over config.json in a pipeline of transformers, change no answer. */
const isHarmless = (params: unknown): boolean =>
  isObject(params) &&
  only("single_label_classification", undefined)(params.problem_type) &&
  only("softmax", undefined)(params.function_to_apply) &&
  params.id2label === undefined &&
  params.num_labels === undefined;
const PARAMS = "an object without labels, and without a `problem_type` or `function_to_apply` other than the above";

/** The fields of config.json, of text and image models. */
export const CONFIG_FIELDS: readonly FieldRule[] = [
  honoured("architectures", "the task; default: determined from the files of the folder"),
  honoured("id2label", "numbers are converted to text; every index from 0 on is required"),
  honoured(
    "num_labels",
    "if `id2label` is missing: the number of labels `LABEL_0`, `LABEL_1`, …; default: the width of the ONNX file's output, else 2",
  ),
  honoured("model_type", "the first position of a text, and the default class of the image processor"),
  honoured(
    "max_position_embeddings n_positions",
    "the most tokens of a text; RoBERTa and similar models have `pad_token_id + 1` fewer",
  ),
  honoured("pad_token_id", "the token that pads short texts; default: the id of `pad_token`"),
  honoured("image_processor_type", "the class, if preprocessor_config.json names none"),
  refusedUnless("problem_type", "`single_label_classification`", only("single_label_classification")),
  refusedUnless("function_to_apply", "`softmax`", only("softmax")),
  refusedUnless(
    "task_specific_params.text-classification task_specific_params.image-classification",
    PARAMS,
    isHarmless,
  ),
  noEffect("label2id", "`id2label` has the same information"),
  noEffect("auto_map dtype torch_dtype quantization_config num_channels image_size", "the ONNX file is the model"),
  noEffectOfOthers("the ONNX file is the model"),
];

/** The fields of tokenizer_config.json. */
export const TOKENIZER_CONFIG_FIELDS: readonly FieldRule[] = [
  honoured(
    "model_max_length max_len",
    "the most tokens of a text, at most 8,192; `max_len` only if `model_max_length` is missing",
  ),
  honoured("padding_side", "right or left; default: the value in `padding` of tokenizer.json, else the class's value"),
  honoured("tokenizer_class", "the defaults of `padding_side`, `do_lower_case` and `add_prefix_space`"),
  honoured(
    "bos_token eos_token unk_token sep_token pad_token cls_token mask_token additional_special_tokens extra_special_tokens",
    "found in texts unchanged, if the vocabulary contains them",
  ),
  honoured("added_tokens_decoder", "takes precedence over `added_tokens` of tokenizer.json; a different id is refused"),
  honoured("do_lowercase_and_remove_accent remove_space", "as in transformers.js"),
  honoured(
    "do_lower_case strip_accents tokenize_chinese_chars",
    "BERT's classes only; the model is refused if tokenizer.json has another value",
  ),
  honoured(
    "add_prefix_space",
    "RoBERTa's and GPT-2's classes only; the model is refused if tokenizer.json has another value",
  ),
  honoured(
    "add_bos_token add_eos_token",
    "Llama, CodeLlama, Gemma, Cohere, GPTNeoX, or no class; the model is refused if tokenizer.json adds other tokens; other classes ignore it",
  ),
  refusedUnless("truncation_side", "right: long texts are cut at the end", only("right")),
  refusedUnless("add_special_tokens", "true", only(true)),
  refusedUnless("split_special_tokens", "false", only(false)),
  refusedUnless("auto_map.AutoTokenizer", "absent: code of models is not run", only()),
  noEffect(
    "max_length stride truncation_strategy pad_to_multiple_of pad_token_type_id model_input_names",
    "texts are cut to the most tokens of the model, and padded to the longest text of a batch",
  ),
  noEffect("clean_up_tokenization_spaces", "for decoding of tokens"),
  noEffect(
    "do_basic_tokenize never_split keep_accents sp_model_kwargs trim_offsets legacy use_fast",
    "for tokenizers without tokenizer.json",
  ),
  noEffectOfOthers("tokenizers of classifiers ignore it, or tokenizer.json has the same information"),
];

/** The fields of tokenizer.json. Component types that the tokenizer library does not support are refused. */
export const TOKENIZER_FIELDS: readonly FieldRule[] = [
  honoured("added_tokens", "`id`, `content`, `lstrip`, `rstrip`, `normalized`, `special`; `single_word` is refused"),
  honoured(
    "normalizer",
    "BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Precompiled, Prepend, Replace, Sequence, Strip, StripAccents; others are refused; Precompiled is treated as NFKC, and a table that maps letters differently is refused",
  ),
  honoured(
    "pre_tokenizer",
    "BertPreTokenizer, ByteLevel, Digits, Metaspace, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit; others are refused",
  ),
  honoured(
    "post_processor",
    "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing; others are refused, as are token types other than 0, and ids that differ from the vocabulary",
  ),
  honoured("model", "BPE, Unigram, WordLevel, WordPiece; others are refused"),
  honoured("padding.direction", "if `padding_side` is missing"),
  refusedUnless("truncation.direction", "Right: long texts are cut at the end", only("Right")),
  refusedUnless("model.dropout", "0", only(0)),
  noEffect(
    "version decoder truncation padding",
    "except for the directions above; texts are cut and padded as the model requires",
  ),
];

/** Fields of the model types of tokenizer.json that the tokenizer library does not support. */
export const MODEL_FIELDS: Readonly<Record<string, readonly FieldRule[]>> = {
  BPE: [refusedUnless("continuing_subword_prefix", "empty", only(""))],
  Unigram: [refusedUnless("byte_fallback", "false", only(false))],
  WordLevel: [],
  WordPiece: [],
};
