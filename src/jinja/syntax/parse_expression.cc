#include <algorithm>
#include <charconv>
#include <utility>

#include "jinja/syntax/parser.h"
#include "jinja/value/builtin.h"

namespace commissure::jinja {

Parser::Expression Parser::joined(NodeKind kind, Node* left, const Node* right) {
  Node* node = make(kind);
  node->left = left;
  node->right = right;
  return finish(node);
}

Parser::Expression Parser::binary(Op op, Node* left, const Node* right) {
  Node* node = TRY(joined(NodeKind::kBinary, left, right));
  node->op = op;
  return node;
}

Parser::Expression Parser::expression(bool with_choice) {
  const Level level(*this);
  if (level.is_too_deep()) return fail(fmt::format("it is nested more than {} deep", kMostDepth));
  Node* node = TRY(disjunction());
  while (with_choice && skip_name("if")) {
    Node* choice = make(NodeKind::kChoice);
    choice->left = node;
    choice->right = TRY(disjunction());
    if (skip_name("else")) choice->third = TRY(expression());
    node = TRY(finish(choice));
  }
  return node;
}

Parser::Expression Parser::tuple(bool with_choice, bool explicit_parentheses, Words ends) {
  const auto at_end = [&] {
    const Token& token = current();
    if (token.kind == TokenKind::kVariableEnd || token.kind == TokenKind::kBlockEnd || is_operator(")")) return true;
    return std::ranges::any_of(ends, [&](std::string_view end) { return is_name(end); });
  };
  Node* node = nullptr;
  std::vector<const Node*> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) TRY(expect_operator(","));
    if (at_end()) break;
    node = TRY(expression(with_choice));
    items.push_back(node);
    if (!is_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return node;
  if (items.empty() && !explicit_parentheses) return unexpected("an expression");
  Node* result = make(NodeKind::kTuple);
  result->children = std::move(items);
  return finish(result);
}

Parser::Expression Parser::disjunction() {
  Node* node = TRY(conjunction());
  while (skip_name("or")) node = TRY(joined(NodeKind::kOr, node, TRY(conjunction())));
  return node;
}

Parser::Expression Parser::conjunction() {
  Node* node = TRY(negation());
  while (skip_name("and")) node = TRY(joined(NodeKind::kAnd, node, TRY(negation())));
  return node;
}

Parser::Expression Parser::negation() {
  const Level level(*this);
  if (level.is_too_deep()) return fail(fmt::format("it is nested more than {} deep", kMostDepth));
  if (!skip_name("not")) return comparison();
  return joined(NodeKind::kNot, TRY(negation()), nullptr);
}

Parser::Expression Parser::comparison() {
  static constexpr std::pair<std::string_view, Op> kOps[] = {{"==", Op::kEqual},  {"!=", Op::kNotEqual},
                                                             {"<", Op::kLess},    {"<=", Op::kLessEqual},
                                                             {">", Op::kGreater}, {">=", Op::kGreaterEqual}};
  Node* first = TRY(sum());
  Node* node = nullptr;
  const auto add = [&](Op op) -> Status {
    if (node == nullptr) {
      node = make(NodeKind::kCompare);
      node->left = first;
    }
    node->ops.push_back(op);
    node->children.push_back(TRY(sum()));
    return {};
  };
  for (bool found = true; found;) {
    found = false;
    for (const auto& [text, op] : kOps) {
      if (!skip_operator(text)) continue;
      TRY(add(op));
      found = true;
      break;
    }
    if (found) continue;
    if (skip_name("in")) {
      TRY(add(Op::kIn));
      found = true;
    } else if (is_name("not") && ahead().kind == TokenKind::kName && ahead().text == "in") {
      at_ += 2;
      TRY(add(Op::kNotIn));
      found = true;
    }
  }
  return node == nullptr ? Expression(first) : finish(node);
}

Parser::Expression Parser::sum() {
  Node* node = TRY(concat());
  for (;;) {
    const bool adds = is_operator("+");
    if (!adds && !is_operator("-")) return node;
    ++at_;
    node = TRY(binary(adds ? Op::kAdd : Op::kSubtract, node, TRY(concat())));
  }
}

Parser::Expression Parser::concat() {
  Node* first = TRY(product());
  if (!is_operator("~")) return first;
  Node* node = make(NodeKind::kConcat);
  node->children.push_back(first);
  while (skip_operator("~")) node->children.push_back(TRY(product()));
  return finish(node);
}

Parser::Expression Parser::product() {
  Node* node = TRY(power());
  for (;;) {
    if (skip_operator("*")) {
      node = TRY(binary(Op::kMultiply, node, TRY(power())));
    } else if (skip_operator("/")) {
      node = TRY(binary(Op::kDivide, node, TRY(power())));
    } else if (skip_operator("//")) {
      node = TRY(binary(Op::kFloorDivide, node, TRY(power())));
    } else if (skip_operator("%")) {
      node = TRY(binary(Op::kModulo, node, TRY(power())));
    } else {
      return node;
    }
  }
}

Parser::Expression Parser::power() {
  Node* node = TRY(unary());
  while (skip_operator("**")) node = TRY(binary(Op::kPower, node, TRY(unary())));
  return node;
}

Parser::Expression Parser::unary(bool with_filter) {
  const Level level(*this);
  if (level.is_too_deep()) return fail(fmt::format("it is nested more than {} deep", kMostDepth));
  Node* node = nullptr;
  if (skip_operator("-")) {
    node = TRY(joined(NodeKind::kNegative, TRY(unary(false)), nullptr));
  } else if (skip_operator("+")) {
    node = TRY(joined(NodeKind::kPositive, TRY(unary(false)), nullptr));
  } else {
    node = TRY(primary());
  }
  node = TRY(postfix(node));
  return with_filter ? filters_and_tests(node) : Expression(node);
}

Parser::Expression Parser::primary() {
  const Token& token = current();
  switch (token.kind) {
    case TokenKind::kName: return name();
    case TokenKind::kText: {
      std::string text = token.text;
      for (++at_; current().kind == TokenKind::kText; ++at_) text += current().text;
      return constant(Value::of(syntax_.keep(std::move(text))));
    }
    case TokenKind::kInteger: return integer();
    case TokenKind::kFloat: return decimal();
    case TokenKind::kOperator:
      if (token.text == "(") {
        ++at_;
        Node* inner = TRY(tuple(true, true));
        TRY(expect_operator(")"));
        return inner;
      }
      if (token.text == "[") return list();
      if (token.text == "{") return dict();
      [[fallthrough]];
    default: return unexpected();
  }
}

Node* Parser::constant(const Value& value) {
  Node* node = make(NodeKind::kConstant);
  node->constant = value;
  return node;
}

Node* Parser::name() {
  const std::string& word = current().text;
  ++at_;
  if (word == "true" || word == "True") return constant(Value::of(true));
  if (word == "false" || word == "False") return constant(Value::of(false));
  if (word == "none" || word == "None") return constant(Value::none());
  Node* node = make(NodeKind::kName);
  node->name = syntax_.id_of(word);
  node->constant = Value::of(std::string_view(syntax_.names[node->name]));
  if (macro_ != nullptr) {
    macro_->catches_varargs |= word == "varargs";
    macro_->catches_kwargs |= word == "kwargs";
    macro_->catches_caller |= word == "caller";
  }
  return node;
}

Parser::Expression Parser::integer() {
  const std::string& text = current().text;
  const char second = text.size() > 1 ? static_cast<char>(text[1] | 0x20) : ' ';
  const int base = second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
  const char* begin = text.data() + (base == 10 ? 0 : 2);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return fail("the integer is too large");
  ++at_;
  return constant(Value::of(value));
}

Parser::Expression Parser::decimal() {
  const std::string& text = current().text;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    const auto mark = text.find_first_of("eE");
    const bool is_small = mark != std::string::npos && text.find('-', mark) != std::string::npos;
    value = is_small ? 0.0 : std::numeric_limits<double>::infinity();
  }
  ++at_;
  return constant(Value::of(value));
}

Parser::Expression Parser::list() {
  Node* node = make(NodeKind::kList);
  ++at_;
  while (!is_operator("]")) {
    if (!node->children.empty()) TRY(expect_operator(","));
    if (is_operator("]")) break;
    node->children.push_back(TRY(expression()));
  }
  ++at_;
  return finish(node);
}

Parser::Expression Parser::dict() {
  Node* node = make(NodeKind::kDict);
  ++at_;
  while (!is_operator("}")) {
    if (!node->children.empty()) TRY(expect_operator(","));
    if (is_operator("}")) break;
    node->children.push_back(TRY(expression()));
    TRY(expect_operator(":"));
    node->children.push_back(TRY(expression()));
  }
  ++at_;
  return finish(node);
}

Parser::Expression Parser::postfix(Node* node) {
  for (;;) {
    if (is_operator(".") || is_operator("[")) {
      node = TRY(subscript(node));
    } else if (is_operator("(")) {
      Node* call = make(NodeKind::kCall);
      call->left = node;
      TRY(arguments(*call));
      node = TRY(finish(call));
    } else {
      return node;
    }
  }
}

Parser::Expression Parser::filters_and_tests(Node* node) {
  for (;;) {
    if (skip_operator("|")) {
      node = TRY(filter(node));
    } else if (skip_name("is")) {
      node = TRY(test(node));
    } else if (is_operator("(")) {
      // A call behind a filter: what it gave is called.
      Node* call = make(NodeKind::kCall);
      call->left = node;
      TRY(arguments(*call));
      node = TRY(finish(call));
    } else {
      return node;
    }
  }
}

Result<std::string> Parser::dotted_name(std::string_view what) {
  if (current().kind != TokenKind::kName) return unexpected(what);
  std::string name = current().text;
  ++at_;
  while (skip_operator(".")) {
    name += "." + current().text;
    TRY(expect(TokenKind::kName, what));
  }
  return name;
}

Parser::Expression Parser::filter(Node* subject) {
  Node* node = make(NodeKind::kFilter);
  node->left = subject;
  std::string name = TRY(dotted_name("a filter's name"));
  node->builtin = find_filter(name);
  node->constant = Value::of(syntax_.keep(std::move(name)));
  if (is_operator("(")) TRY(arguments(*node));
  return finish(node);
}

Parser::Expression Parser::test(Node* subject) {
  Node* node = make(NodeKind::kTest);
  node->left = subject;
  node->flag = skip_name("not");
  std::string name = TRY(dotted_name("a test's name"));
  node->builtin = find_test(name);
  node->constant = Value::of(syntax_.keep(std::move(name)));
  const TokenKind kind = current().kind;
  if (is_operator("(")) {
    TRY(arguments(*node));
  } else if ((kind == TokenKind::kName && !is_name("else") && !is_name("or") && !is_name("and")) ||
             kind == TokenKind::kText || kind == TokenKind::kInteger || kind == TokenKind::kFloat || is_operator("[") ||
             is_operator("{")) {
    if (is_name("is")) return fail("you cannot chain multiple tests with is");
    Argument argument;
    argument.value = TRY(postfix(TRY(primary())));
    node->arguments.push_back(argument);
  }
  return finish(node);
}

Result<const Node*> Parser::slice_part() {
  if (is_operator(":") || is_operator("]") || is_operator(",")) return nullptr;
  const Node* part = TRY(expression());
  return part;
}

Parser::Expression Parser::subscript(Node* owner) {
  if (skip_operator(".")) {
    Node* node = make(NodeKind::kAttribute);
    node->left = owner;
    const Token& token = current();
    if (token.kind == TokenKind::kName) {
      node->constant = Value::of(syntax_.keep(token.text));
      ++at_;
      return finish(node);
    }
    if (token.kind != TokenKind::kInteger) return unexpected("name or number");
    node->kind = NodeKind::kItem;
    node->right = TRY(primary());
    return finish(node);
  }
  ++at_;
  std::vector<const Node*> items;
  Node* slice = nullptr;
  while (!is_operator("]")) {
    if (!items.empty()) TRY(expect_operator(","));
    const Node* start = TRY(slice_part());
    if (!is_operator(":")) {
      if (start == nullptr) return unexpected("an expression");
      items.push_back(start);
      continue;
    }
    slice = make(NodeKind::kSlice);
    slice->left = owner;
    slice->children = {start, nullptr, nullptr};
    for (std::size_t i = 1; i < 3 && skip_operator(":"); ++i) slice->children[i] = TRY(slice_part());
    items.push_back(slice);
  }
  ++at_;
  if (slice != nullptr) {
    if (items.size() != 1) return fail("a slice stands alone");
    return finish(slice);
  }
  if (items.empty()) return fail("expected subscript expression");
  Node* node = make(NodeKind::kItem);
  node->left = owner;
  node->right = items[0];
  if (items.size() > 1) {
    Node* several = make(NodeKind::kTuple);
    several->children = std::move(items);
    node->right = TRY(finish(several));
  }
  return finish(node);
}

Status Parser::arguments(Node& node) {
  TRY(expect_operator("("));
  bool named = false;
  while (!is_operator(")")) {
    if (!node.arguments.empty()) TRY(expect_operator(","));
    if (is_operator(")")) break;
    Argument argument;
    if (skip_operator("*")) {
      argument.kind = Argument::Kind::kSplat;
    } else if (skip_operator("**")) {
      argument.kind = Argument::Kind::kDoubleSplat;
    } else if (current().kind == TokenKind::kName && ahead().kind == TokenKind::kOperator && ahead().text == "=") {
      argument.kind = Argument::Kind::kNamed;
      argument.name = syntax_.keep(current().text);
      named = true;
      at_ += 2;
    } else if (named) {
      return fail("invalid syntax for function call expression");
    }
    argument.value = TRY(expression());
    node.arguments.push_back(argument);
  }
  ++at_;
  return {};
}

}  // namespace commissure::jinja
