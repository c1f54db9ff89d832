// Tokenizers from Hugging Face's tokenizer.json and tokenizer_config.json.

#include <algorithm>

#include "text/bpe.h"
#include "text/hf_json.h"
#include "text/pipeline.h"

namespace commissure {

namespace {

constexpr std::int64_t kMaxTokenId = std::int64_t{1} << 22;

struct AddedToken {
  std::int64_t id = 0;
  std::string text;
  bool is_special = false, is_normalised = false;
  SpecialToken rules;
};

Result<std::vector<AddedToken>> read_added(const Json& tokenizer) {
  std::vector<AddedToken> result;
  const Json* added = find_member(tokenizer, "added_tokens");
  if (added == nullptr) return result;
  if (!added->is_array()) return Error(Code::kInvalidArgument, "tokenizer.json: added_tokens is no list");
  for (const Json& entry : *added) {
    const Json* id = find_member(entry, "id");
    if (id == nullptr || !id->is_number_integer() || id->get<std::int64_t>() < 0 ||
        id->get<std::int64_t>() >= kMaxTokenId) {
      return Error(Code::kInvalidArgument, "tokenizer.json: an added token has no usable id: ", dump_json(entry));
    }
    AddedToken token{id->get<std::int64_t>(),
                     json_text(entry, "content"),
                     json_bool(entry, "special", false),
                     json_bool(entry, "normalized", false),
                     {}};
    token.rules = {TokenId(static_cast<std::int32_t>(token.id)), token.is_special, json_bool(entry, "lstrip", false),
                   json_bool(entry, "rstrip", false), json_bool(entry, "single_word", false)};
    result.push_back(std::move(token));
  }
  return result;
}

Status place(std::vector<std::string_view>& texts, std::int64_t id, std::string_view text) {
  if (id < 0 || id >= kMaxTokenId) {
    return Error(Code::kInvalidArgument, "tokenizer.json: token id ", id, " is out of range");
  }
  const std::size_t index = id;
  if (texts.size() <= index) texts.resize(index + 1);
  if (!texts[index].empty() && texts[index] != text) {
    return Error(Code::kInvalidArgument, "tokenizer.json: two tokens have the id ", id);
  }
  texts[index] = text;
  return {};
}

Result<std::unique_ptr<TokenTable>> read_vocabulary(const Json& model, const std::vector<AddedToken>& added) {
  const Json* vocab = find_member(model, "vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    return Error(Code::kInvalidArgument, "tokenizer.json: model.vocab is no object");
  }
  std::vector<std::string_view> texts;
  texts.reserve(vocab->size() + added.size());
  std::size_t n_bytes = 0;
  for (const auto& [text, id] : vocab->items()) {
    if (!id.is_number_integer())
      return Error(Code::kInvalidArgument, "tokenizer.json: an id in model.vocab is no number");
    TRY(place(texts, id.get<std::int64_t>(), text));
    n_bytes += text.size();
  }
  for (const AddedToken& token : added) {
    TRY(place(texts, token.id, token.text));
    n_bytes += token.text.size();
  }
  auto table = std::make_unique<TokenTable>(texts.size(), n_bytes + 64);
  for (std::size_t id = 0; id < texts.size(); ++id) {
    if (texts[id].empty()) {  // a hole in the ids
      TRY(table->add("[UNUSED_" + std::to_string(id) + "]", TokenType::kUnused));
    } else {
      TRY(table->add(texts[id]));
    }
  }
  for (const AddedToken& token : added) {
    table->set_type(token.rules.token, token.is_special ? TokenType::kControl : TokenType::kUserDefined);
  }
  return table;
}

Status add_merges(const Json* merges, BpeModel& model) {
  if (merges == nullptr) return {};
  for (const Json& merge : *merges) {
    if (merge.is_string()) {
      const auto& pair = merge.get_ref<const std::string&>();
      const std::size_t space = pair.find(' ');
      if (space != std::string::npos && space > 0 && space + 1 < pair.size()) {
        TRY(model.add_merge(std::string_view(pair).substr(0, space), std::string_view(pair).substr(space + 1)));
        continue;
      }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      TRY(model.add_merge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()));
      continue;
    }
    return Error(Code::kInvalidArgument, "tokenizer.json: ", dump_json(merge), " in model.merges is no pair");
  }
  return {};
}

Result<std::unique_ptr<PieceModel>> read_model(const Json& model, bool is_byte_level, const PipelineParts& parts) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!json_text(model, key).empty()) {
      return Error(Code::kUnimplemented, "tokenizer.json: model.", key, " is not supported");
    }
  }
  BpeModel::Options options;
  options.byte_level = is_byte_level;
  options.ignore_merges = json_bool(model, "ignore_merges", false);
  options.byte_fallback = json_bool(model, "byte_fallback", false);
  options.fuse_unknown = json_bool(model, "fuse_unk", false);
  options.unknown = parts.unknown;
  const Json* merges = find_member(model, "merges");
  if (merges != nullptr && !merges->is_array()) {
    return Error(Code::kInvalidArgument, "tokenizer.json: model.merges is no list");
  }
  auto bpe = std::make_unique<BpeModel>(*parts.vocabulary, options, merges == nullptr ? 0 : merges->size());
  TRY(add_merges(merges, *bpe));
  return bpe;
}

/// The first id that a template's special token stands for.
std::optional<TokenId> template_token(const Json& processor, const Json& item, const TokenTable& vocabulary) {
  const Json* name = find_member(item, "id");
  const Json* table = find_member(processor, "special_tokens");
  if (name == nullptr || !name->is_string() || table == nullptr) return std::nullopt;
  const Json* entry = find_member(*table, name->get<std::string>());
  const Json* ids = entry == nullptr ? nullptr : find_member(*entry, "ids");
  if (ids == nullptr || !ids->is_array() || ids->size() != 1 || !(*ids)[0].is_number_integer()) return std::nullopt;
  const auto id = (*ids)[0].get<std::int64_t>();
  return vocabulary.contains(id) ? std::optional(TokenId(static_cast<std::int32_t>(id))) : std::nullopt;
}

Status read_template(const Json& processor, PipelineParts& parts) {
  const Json* single = find_member(processor, "single");
  if (single == nullptr || !single->is_array()) {
    return Error(Code::kInvalidArgument, "tokenizer.json: TemplateProcessing without single");
  }
  bool is_behind = false;
  for (const Json& item : *single) {
    const Json* special = find_member(item, "SpecialToken");
    if (special == nullptr) {
      is_behind = true;
      continue;
    }
    const std::optional<TokenId> token = template_token(processor, *special, *parts.vocabulary);
    bool& is_added = is_behind ? parts.adds_eos : parts.adds_bos;
    if (!token || is_added) {
      return Error(Code::kUnimplemented, "tokenizer.json: only one token before and one behind a text are supported");
    }
    (is_behind ? parts.eos : parts.bos) = token;
    is_added = true;
  }
  return {};
}

Status read_post_processor(const Json& processor, PipelineParts& parts) {
  const std::string type = component_type(processor);
  if (processor.is_null() || type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return read_template(processor, parts);
  const Json* processors = find_member(processor, "processors");
  if (type == "Sequence" && processors != nullptr && processors->is_array()) {
    for (const Json& part : *processors) TRY(read_post_processor(part, parts));
    return {};
  }
  return Error(Code::kUnimplemented, "tokenizer.json: the post_processor \"", type, "\" is not supported");
}

/// Whether decoding drops a space at the start of the text.
bool drops_first_space(const Json& decoder) {
  const std::string type = component_type(decoder);
  if (type == "Metaspace") {
    const bool adds_prefix = json_bool(decoder, "add_prefix_space", true);
    return json_text(decoder, "prepend_scheme", adds_prefix ? "always" : "never") != "never";
  }
  const Json* start = find_member(decoder, "start");
  if (type == "Strip") return start != nullptr && start->is_number_integer() && start->get<std::int64_t>() > 0;
  const Json* parts = find_member(decoder, "decoders");
  return parts != nullptr && parts->is_array() && std::any_of(parts->begin(), parts->end(), drops_first_space);
}

/// A token that tokenizer_config.json names, as text or as {"content": text}.
std::optional<TokenId> config_token(const Json& config, std::string_view key, const TokenTable& vocabulary) {
  const Json* value = find_member(config, key);
  if (value == nullptr) return std::nullopt;
  const std::string text = value->is_string() ? value->get<std::string>() : json_text(*value, "content");
  return text.empty() ? std::nullopt : vocabulary.find(text);
}

void apply_config(const Json& config, PipelineParts& parts) {
  if (const auto bos = config_token(config, "bos_token", *parts.vocabulary)) parts.bos = bos;
  if (const auto eos = config_token(config, "eos_token", *parts.vocabulary)) parts.eos = eos;
  parts.adds_bos = json_bool(config, "add_bos_token", parts.adds_bos) && parts.bos;
  parts.adds_eos = json_bool(config, "add_eos_token", parts.adds_eos) && parts.eos;
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_json(const Json& tokenizer, const Json& config) {
  const Json* model = find_member(tokenizer, "model");
  if (model == nullptr) return Error(Code::kInvalidArgument, "tokenizer.json has no model");
  const std::string type = json_text(*model, "type", "BPE");
  if (type != "BPE") {
    return Error(Code::kUnimplemented, "tokenizer.json: the model type \"", type, "\" is not supported (BPE is)");
  }
  const std::vector<AddedToken> added = TRY(read_added(tokenizer));
  PipelineParts parts(TRY(read_vocabulary(*model, added)));
  const Json none;
  const auto part = [&](std::string_view key) -> const Json& {
    const Json* found = find_member(tokenizer, key);
    return found == nullptr ? none : *found;
  };
  bool is_byte_level = false;
  TRY(add_normaliser(part("normalizer"), parts.normaliser));
  TRY(add_pre_tokenizer(part("pre_tokenizer"), parts.pre_tokenizer, is_byte_level));
  parts.spelling = is_byte_level ? Spelling::kByteLevel : Spelling::kSpaceMark;
  parts.strips_leading_space = drops_first_space(part("decoder"));
  const std::string unknown = json_text(*model, "unk_token");
  if (!unknown.empty()) parts.unknown = parts.vocabulary->find(unknown);
  parts.model = TRY(read_model(*model, is_byte_level, parts));
  TRY(read_post_processor(part("post_processor"), parts));
  apply_config(config, parts);
  for (const AddedToken& token : added) {
    if (token.is_normalised) {
      parts.normalised_specials.add(parts.normaliser.run(token.text), token.rules);
    } else {
      parts.specials.add(token.text, token.rules);
    }
  }
  if (parts.eos) parts.end_tokens.push_back(*parts.eos);
  add_known_end_tokens(parts);
  return std::unique_ptr<Tokenizer>(std::make_unique<Pipeline>(std::move(parts)));
}

}  // namespace commissure
