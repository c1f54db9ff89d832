// What answers are held to: 's' a JSON schema, 'r' a regular expression, 'g' a grammar. Whatever is compiled is
// followed for some tokens.

#include "core/index.h"
#include "fuzz/fuzz.h"
#include "grammar/grammar.h"
#include "support/fake_tokenizer.h"

namespace commissure {
namespace {

using Form = GrammarSource::Form;

GrammarCompiler& compiler() {
  static const std::shared_ptr<GrammarCompiler> shared = GrammarCompiler::create(
      std::make_shared<FakeTokenizer>(), FakeTokenizer::kTokens, {TokenId(FakeTokenizer::kEos)});
  return *shared;
}

void follow(const Grammar& grammar, std::string_view choices) {
  const std::unique_ptr<GrammarMatcher> matcher = grammar.match();
  for (int i = 0; i < 48; ++i) {
    const auto mask = matcher->mask();
    if (!mask) return;
    CHECK(!mask->empty());
    const std::size_t n = choices.empty() ? 0 : static_cast<unsigned char>(choices[to_size(i) % choices.size()]);
    std::size_t left = n % mask->n_tokens();
    TokenId drawn;
    mask->each([&](TokenId token) {
      if (left-- == 0) drawn = token;
    });
    if (drawn.value == FakeTokenizer::kEos) {
      CHECK(matcher->may_end());
      return;
    }
    CHECK(matcher->accept(drawn).has_value());
  }
}

template <Form form>
void check(std::string_view text) {
  const auto made = compiler().compile(GrammarSource::of(form, std::string(text)));
  if (fuzz::is_accepted(made)) follow(**made, text);
}

constexpr std::pair<char, void (*)(std::string_view)> kReaders[] = {
    {'s', check<Form::kJsonSchema>}, {'r', check<Form::kRegex>}, {'g', check<Form::kEbnf>}};

}  // namespace
}  // namespace commissure

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return commissure::fuzz::dispatch(commissure::kReaders, data, size);
}
