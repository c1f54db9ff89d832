// Renders templates under limits: the input as it is, and one that a grammar grows from its bytes. Whatever a template
// says, it ends in a text or an error, within its limits.

#include <string>
#include <string_view>

#include "core/json.h"
#include "fuzz/fuzz.h"
#include "jinja/chat_template.h"

namespace {

using namespace commissure;

const Json& variables() {
  static const Json value = parse_json(R"({"messages":[{"role":"user","content":"Hi \u00e9"},
    {"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{"a":[1,2.5,true]}}}]}],
    "tools":null,"bos_token":"<s>","n":3,"f":1.5,"s":"some text","l":[3,1,2],"m":{"a":1,"b":[{"c":"d"}]}})")
                                .value();
  return value;
}

void check(std::string_view source) {
  const jinja::Limits kLimits{.fuel = 20'000, .memory_bytes = 1u << 20, .text_bytes = 256u << 10, .depth = 400};
  const auto compiled = ChatTemplate::compile(source);
  if (!fuzz::is_accepted(compiled)) return;
  const auto text = (*compiled)->render(variables(), kLimits);
  if (fuzz::is_accepted(text)) CHECK(text->size() <= kLimits.text_bytes);
}

/// Grows a template: each byte of the input chooses a rule.
class Grammar {
 public:
  Grammar(const std::uint8_t* data, std::size_t size) : choices_(data, size) {}

  std::string body(int depth) {
    std::string out;
    for (std::size_t n = 1 + choose(4); n > 0 && !choices_.done(); --n) out += statement(depth);
    return out;
  }

 private:
  std::size_t choose(std::size_t n) { return choices_.below(n); }

  template <std::size_t N>
  std::string one_of(const char* const (&words)[N]) {
    return words[choose(N)];
  }

  std::string name() {
    static constexpr const char* kNames[] = {"messages", "n",    "f",    "s",     "l", "m",  "x",     "y",
                                             "ns",       "loop", "nope", "tools", "i", "mm", "range", "namespace"};
    return one_of(kNames);
  }

  std::string statement(int depth) {
    if (depth > 6) return "{{ " + expression(depth) + " }}";
    switch (choose(12)) {
      case 0: return "text\n";
      case 1:
        return "{% if " + expression(depth + 1) + " %}" + body(depth + 1) + "{% else %}" + body(depth + 1) +
               "{% endif %}";
      case 2: return "{% for " + name() + " in " + expression(depth + 1) + " %}" + body(depth + 1) + "{% endfor %}";
      case 3: return "{% set " + name() + " = " + expression(depth + 1) + " %}";
      case 4:
        return "{% set ns = namespace(x=" + expression(depth + 1) +
               ") %}{% for i in range(40) %}{% set ns.x = " + expression(depth + 1) + " %}{% endfor %}{{ ns.x }}";
      case 5:
        return "{% macro mm(x, y=1) %}" + body(depth + 1) + "{% endmacro %}{{ mm(" + expression(depth + 1) + ") }}";
      case 6: return "{% set x %}" + body(depth + 1) + "{% endset %}";
      case 7: return "{% filter " + filter(depth + 1) + " %}" + body(depth + 1) + "{% endfilter %}";
      case 8: return "{% call mm(1) %}" + body(depth + 1) + "{% endcall %}";
      case 9:
        return "{% for i in " + expression(depth + 1) + " recursive %}{{ loop(" + expression(depth + 1) +
               ") }}{% endfor %}";
      default: return "{{ " + expression(depth + 1) + " }}";
    }
  }

  std::string filter(int depth) {
    static constexpr const char* kFilters[] = {"upper",
                                               "lower",
                                               "title",
                                               "trim",
                                               "length",
                                               "list",
                                               "reverse",
                                               "join(s)",
                                               "sort",
                                               "unique",
                                               "sum",
                                               "min",
                                               "first",
                                               "last",
                                               "tojson",
                                               "tojson(indent=2)",
                                               "string",
                                               "int",
                                               "float",
                                               "round(2)",
                                               "abs",
                                               "batch(2)",
                                               "slice(3)",
                                               "items",
                                               "dictsort",
                                               "groupby('role')",
                                               "map('upper')",
                                               "map(attribute='content')",
                                               "select('string')",
                                               "selectattr('role','eq','user')",
                                               "indent(3)",
                                               "replace('e','ee')",
                                               "truncate(5)",
                                               "wordcount",
                                               "wordwrap(4)",
                                               "center(30)",
                                               "urlencode",
                                               "escape",
                                               "striptags",
                                               "default('d',true)",
                                               "pprint",
                                               "format(1)",
                                               "xmlattr",
                                               "filesizeformat",
                                               "attr('x')",
                                               "random",
                                               "capitalize"};
    return choose(8) == 0 ? "default(" + expression(depth + 1) + ")" : one_of(kFilters);
  }

  std::string method(int depth) {
    static constexpr const char* kMethods[] = {"upper()",
                                               "split()",
                                               "split('e',1)",
                                               "rsplit('e',1)",
                                               "strip()",
                                               "lstrip('so')",
                                               "splitlines()",
                                               "partition('e')",
                                               "replace('','ab')",
                                               "find('e')",
                                               "rfind('e')",
                                               "count('e')",
                                               "startswith(('s','t'))",
                                               "zfill(20)",
                                               "center(9)",
                                               "expandtabs(99)",
                                               "format(1,2)",
                                               "isdigit()",
                                               "title()",
                                               "items()",
                                               "keys()",
                                               "get('a')",
                                               "index(1)",
                                               "next()",
                                               "x",
                                               "0"};
    return choose(6) == 0 ? "join(" + expression(depth + 1) + ")" : one_of(kMethods);
  }

  std::string expression(int depth) {
    static constexpr const char* kOperators[] = {"+",  "-",  "*", "/",  "//", "%",      "**",  "~",
                                                 "==", "!=", "<", ">=", "in", "not in", "and", "or"};
    static constexpr const char* kTests[] = {"string",   "defined",     "none",     "odd",
                                             "sequence", "mapping",     "iterable", "divisibleby 3",
                                             "in [1]",   "sameas none", "callable"};
    static constexpr const char* kConstants[] = {
        "1",    "-7",   "0",  "2.5", "99999", "9223372036854775807", "'%s %d'", "'{:>9}{}'", "''",
        "true", "none", "[]", "{}",  "()",    "'\\u00e9x'",          "1e308"};
    if (depth > 8 || choices_.done()) return name();
    switch (choose(14)) {
      case 0:
      case 1: return name();
      case 2: return one_of(kConstants);
      case 3: return "(" + expression(depth + 1) + " " + one_of(kOperators) + " " + expression(depth + 1) + ")";
      case 4: return "(" + expression(depth + 1) + " | " + filter(depth) + ")";
      case 5: return "(" + expression(depth + 1) + " is " + one_of(kTests) + ")";
      case 6: return expression(depth + 1) + "." + method(depth);
      case 7: return "[" + expression(depth + 1) + ", " + expression(depth + 1) + "]";
      case 8: return "{'a': " + expression(depth + 1) + ", " + one_of(kConstants) + ": 1}";
      case 9: return expression(depth + 1) + "[" + expression(depth + 1) + "]";
      case 10:
        return expression(depth + 1) + "[" + one_of(kConstants) + ":" + one_of(kConstants) + ":" + one_of(kConstants) +
               "]";
      case 11:
        return "(" + expression(depth + 1) + " if " + expression(depth + 1) + " else " + expression(depth + 1) + ")";
      case 12: return "(" + expression(depth + 1) + ", " + expression(depth + 1) + ")";
      default: return name() + "(" + expression(depth + 1) + ")";
    }
  }

  fuzz::Choices choices_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check(fuzz::as_text(data, size));
  check(Grammar(data, size).body(0));
  return 0;
}
