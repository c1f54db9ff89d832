// Tokenizers from Hugging Face's tokenizer.json and tokenizer_config.json.

#include <algorithm>
#include <utility>

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

/// The ids that a template's special token stands for. Errors: kInvalidArgument.
Result<std::vector<TokenId>> template_tokens(const Json& processor, const Json& item, const TokenTable& vocabulary) {
  const std::string name = json_text(item, "id");
  const Json* table = find_member(processor, "special_tokens");
  const Json* entry = table == nullptr ? nullptr : find_member(*table, name);
  const Json* ids = entry == nullptr ? nullptr : find_member(*entry, "ids");
  std::vector<TokenId> tokens;
  if (ids != nullptr && ids->is_array()) {
    for (const Json& id : *ids) {
      const std::int64_t value = id.is_number_integer() ? id.get<std::int64_t>() : -1;
      if (!vocabulary.contains(value)) break;
      tokens.emplace_back(static_cast<std::int32_t>(value));
    }
  }
  if (tokens.empty() || tokens.size() != ids->size()) {
    return Error(Code::kInvalidArgument, "tokenizer.json: the post_processor's special token \"", name,
                 "\" has no ids of the vocabulary");
  }
  return tokens;
}

/// Errors: kUnimplemented, tokens are put around the text already: what a second processor makes of them is not the
/// plain nesting that it looks like.
Status wrap(PipelineParts& parts, std::vector<TokenId> before, std::vector<TokenId> behind) {
  if (!parts.before.empty() || !parts.behind.empty()) {
    return Error(Code::kUnimplemented, "tokenizer.json: two post_processors that put tokens around a text");
  }
  parts.before = std::move(before);
  parts.behind = std::move(behind);
  return {};
}

Status read_template(const Json& processor, PipelineParts& parts) {
  const Json* single = find_member(processor, "single");
  if (single == nullptr || !single->is_array()) {
    return Error(Code::kInvalidArgument, "tokenizer.json: TemplateProcessing without single");
  }
  std::vector<TokenId> before, behind;
  int n_texts = 0;
  for (const Json& item : *single) {
    const Json* special = find_member(item, "SpecialToken");
    if (special == nullptr) {
      ++n_texts;
      continue;
    }
    const std::vector<TokenId> tokens = TRY(template_tokens(processor, *special, *parts.vocabulary));
    std::vector<TokenId>& side = n_texts > 0 ? behind : before;
    side.insert(side.end(), tokens.begin(), tokens.end());
  }
  if (n_texts != 1) {
    return Error(Code::kUnimplemented, "tokenizer.json: the post_processor's template has the text ", n_texts,
                 " times; once is supported");
  }
  return wrap(parts, std::move(before), std::move(behind));
}

/// BertProcessing and RobertaProcessing: "cls" before and "sep" behind the text, each as [text, id].
Status read_cls_and_sep(const Json& processor, PipelineParts& parts) {
  const auto token = [&](const char* key) -> Result<std::vector<TokenId>> {
    const Json* pair = find_member(processor, key);
    const bool is_pair = pair != nullptr && pair->is_array() && pair->size() == 2 && (*pair)[1].is_number_integer();
    const std::int64_t id = is_pair ? (*pair)[1].get<std::int64_t>() : -1;
    if (!parts.vocabulary->contains(id))
      return Error(Code::kInvalidArgument, "tokenizer.json: the post_processor's ", key, " is no token");
    return std::vector{TokenId(static_cast<std::int32_t>(id))};
  };
  return wrap(parts, TRY(token("cls")), TRY(token("sep")));
}

Status read_post_processor(const Json& processor, PipelineParts& parts) {
  const std::string type = component_type(processor);
  if (processor.is_null() || type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return read_template(processor, parts);
  if (type == "BertProcessing" || type == "RobertaProcessing") return read_cls_and_sep(processor, parts);
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

/// The tokens of a role that tokenizer_config.json names; without a name, the only one that stands on its side of a
/// text.
void name_roles(const Json& config, PipelineParts& parts) {
  const auto role = [&](const char* key, const std::vector<TokenId>& side) {
    const auto named = config_token(config, key, *parts.vocabulary);
    return named || side.size() != 1 ? named : std::optional(side.front());
  };
  parts.bos = role("bos_token", parts.before);
  parts.eos = role("eos_token", parts.behind);
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
  name_roles(config, parts);
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
