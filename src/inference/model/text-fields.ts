import { type FieldRule, honoured, noEffect, noEffectOfOthers, only, refusedUnless } from "./field-rules.ts";
import { isObject } from "./json.ts";

/** What a pipeline of transformers takes from there over what stands in config.json itself. */
const isHarmless = (params: unknown): boolean =>
  isObject(params) &&
  only("single_label_classification", undefined)(params.problem_type) &&
  only("softmax", undefined)(params.function_to_apply) &&
  params.id2label === undefined &&
  params.num_labels === undefined;
const PARAMS = "without labels, and with no other `problem_type` and `function_to_apply` than a softmax";

/** The fields of config.json, of text and image models. */
export const CONFIG_FIELDS: readonly FieldRule[] = [
  honoured("architectures", "the task; where it is missing, the files that are there tell it"),
  honoured("id2label", "numbers are taken as text; each index from 0 has to be there"),
  honoured(
    "num_labels",
    "only where `id2label` is missing: `LABEL_0`, `LABEL_1`, …; where it is missing too, as many as the ONNX file's output has, or 2",
  ),
  honoured(
    "model_type",
    "the first position of a text, and the class of the image processor, where their own files do not say it",
  ),
  honoured(
    "max_position_embeddings n_positions",
    "the most tokens of a text; models in RoBERTa's way have `pad_token_id + 1` fewer",
  ),
  honoured("pad_token_id", "what fills up short texts; where it is missing, the id of `pad_token`"),
  honoured("image_processor_type", "where preprocessor_config.json names no class"),
  refusedUnless("problem_type", "`single_label_classification`", only("single_label_classification")),
  refusedUnless("function_to_apply", "`softmax`", only("softmax")),
  refusedUnless(
    "task_specific_params.text-classification task_specific_params.image-classification",
    PARAMS,
    isHarmless,
  ),
  noEffect("label2id", "`id2label` says the same"),
  noEffect("auto_map dtype torch_dtype quantization_config num_channels image_size", "the ONNX file is the model"),
  noEffectOfOthers("the ONNX file is the model"),
];

/** The fields of tokenizer_config.json. */
export const TOKENIZER_CONFIG_FIELDS: readonly FieldRule[] = [
  honoured("model_max_length max_len", "the most tokens of a text, 8,192 at most; the first of the two that is there"),
  honoured("padding_side", "right or left; where it is missing, as `padding` in tokenizer.json or the class has it"),
  honoured(
    "tokenizer_class",
    "what the class has for `padding_side`, `do_lower_case` and `add_prefix_space` where they are missing",
  ),
  honoured(
    "bos_token eos_token unk_token sep_token pad_token cls_token mask_token additional_special_tokens extra_special_tokens",
    "found in a text as they are written, where the vocabulary has them",
  ),
  honoured("added_tokens_decoder", "goes over `added_tokens` of tokenizer.json; an id that differs is refused"),
  honoured("do_lowercase_and_remove_accent remove_space", "as transformers.js does"),
  honoured(
    "do_lower_case strip_accents tokenize_chinese_chars",
    "of BERT's classes: what tokenizer.json says must be the same, else the model is refused",
  ),
  honoured(
    "add_prefix_space",
    "of RoBERTa's and GPT-2's classes: what tokenizer.json says must be the same, else the model is refused",
  ),
  honoured(
    "add_bos_token add_eos_token",
    "of the classes of Llama, CodeLlama, Gemma, Cohere and GPTNeoX, or without a class: what tokenizer.json adds must be the same, else the model is refused. Other classes only store them",
  ),
  refusedUnless("truncation_side", "right: the end of a long text is left out", only("right")),
  refusedUnless("add_special_tokens", "true", only(true)),
  refusedUnless("split_special_tokens", "false", only(false)),
  refusedUnless("auto_map.AutoTokenizer", "absent: a model's own code is not run", only()),
  noEffect(
    "max_length stride truncation_strategy pad_to_multiple_of pad_token_type_id model_input_names",
    "texts are cut to the most tokens of the model, and padded to the longest of a batch",
  ),
  noEffect("clean_up_tokenization_spaces", "for text from tokens"),
  noEffect(
    "do_basic_tokenize never_split keep_accents sp_model_kwargs trim_offsets legacy use_fast",
    "for tokenizers without tokenizer.json, which has their outcome",
  ),
  noEffectOfOthers("no tokenizer reads it for a classifier, or tokenizer.json has its outcome"),
];

/** The fields of tokenizer.json. What its parts may be is what the tokenizer's library knows: other types are refused. */
export const TOKENIZER_FIELDS: readonly FieldRule[] = [
  honoured(
    "added_tokens",
    "`id`, `content`, `lstrip`, `rstrip`, `normalized`, `special`; one with `single_word` is refused",
  ),
  honoured(
    "normalizer",
    "BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Precompiled, Prepend, Replace, Sequence, Strip, StripAccents; others are refused. Precompiled is taken for NFKC, and a table that does something else with letters is refused",
  ),
  honoured(
    "pre_tokenizer",
    "BertPreTokenizer, ByteLevel, Digits, Metaspace, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit; others are refused",
  ),
  honoured(
    "post_processor",
    "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing; others are refused, and so are token types other than 0, and ids that are not the vocabulary's",
  ),
  honoured("model", "BPE, Unigram, WordLevel, WordPiece; others are refused"),
  honoured("padding.direction", "where `padding_side` is missing"),
  refusedUnless("truncation.direction", "Right: the end of a long text is left out", only("Right")),
  refusedUnless("model.dropout", "0", only(0)),
  noEffect(
    "version decoder truncation padding",
    "but for their directions; texts are cut and padded as the model needs it",
  ),
];

/** Fields of one model type of tokenizer.json that its library does not know. */
export const MODEL_FIELDS: Readonly<Record<string, readonly FieldRule[]>> = {
  BPE: [refusedUnless("continuing_subword_prefix", "empty", only(""))],
  Unigram: [refusedUnless("byte_fallback", "false", only(false))],
  WordLevel: [],
  WordPiece: [],
};
