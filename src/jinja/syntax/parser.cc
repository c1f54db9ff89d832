#include "jinja/syntax/parser.h"

#include <algorithm>
#include <array>

namespace commissure::jinja {

NameId Syntax::id_of(std::string_view name) {
  if (const auto found = find(name)) return *found;
  const auto id = static_cast<NameId>(names.size());
  ids.emplace(names.emplace_back(name), id);
  return id;
}

std::optional<NameId> Syntax::find(std::string_view name) const {
  const auto found = ids.find(name);
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

Result<std::unique_ptr<Syntax>> parse(std::string_view source) {
  if (source.size() > kMostSourceBytes) {
    return Error(Code::kInvalidArgument, "it has ", source.size(), " bytes, but may have at most ", kMostSourceBytes);
  }
  auto syntax = std::make_unique<Syntax>();
  TRY(Parser(TRY(read_tokens(source)), *syntax).run());
  return syntax;
}

Status Parser::run() {
  while (current().kind != TokenKind::kEnd) TRY(statement(syntax_.body));
  return {};
}

bool Parser::is_operator(std::string_view text) const {
  return current().kind == TokenKind::kOperator && current().text == text;
}

bool Parser::is_name(std::string_view text) const {
  return current().kind == TokenKind::kName && current().text == text;
}

bool Parser::skip_operator(std::string_view text) {
  if (!is_operator(text)) return false;
  ++at_;
  return true;
}

bool Parser::skip_name(std::string_view text) {
  if (!is_name(text)) return false;
  ++at_;
  return true;
}

Error Parser::unexpected(std::string_view wanted) const {
  const Token& token = current();
  const std::string shown = token.kind == TokenKind::kEnd           ? "end of template"
                            : token.kind == TokenKind::kBlockEnd    ? "end of statement block"
                            : token.kind == TokenKind::kVariableEnd ? "end of print statement"
                            : token.kind == TokenKind::kData        ? "template data"
                                                                    : "'" + token.text.substr(0, 40) + "'";
  return fail(wanted.empty() ? "unexpected " + shown : "expected " + std::string(wanted) + ", got " + shown);
}

Status Parser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) return unexpected("'" + std::string(text) + "'");
  return {};
}

Status Parser::expect_name(std::string_view text) {
  if (!skip_name(text)) return unexpected("'" + std::string(text) + "'");
  return {};
}

Status Parser::expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind) return unexpected(what);
  ++at_;
  return {};
}

Node* Parser::make(NodeKind kind) {
  Node& node = syntax_.nodes.emplace_back();
  node.kind = kind;
  node.line = current().line;
  return &node;
}

Parser::Expression Parser::finish(Node* node, std::initializer_list<const Node*> parts) {
  int depth = 0;
  const auto see = [&](const Node* part) { depth = std::max<int>(depth, part == nullptr ? 0 : part->depth); };
  std::ranges::for_each(parts, see);
  for (const Node* part : {node->left, node->right, node->third}) see(part);
  std::ranges::for_each(node->children, see);
  for (const Argument& argument : node->arguments) see(argument.value);
  if (depth >= kMostDepth) return at_line(node->line, fmt::format("it is nested more than {} deep", kMostDepth));
  node->depth = static_cast<std::uint16_t>(depth + 1);
  return node;
}

Status Parser::statement(Body& body) {
  const Level level(*this);
  if (level.is_too_deep()) return fail(fmt::format("it is nested more than {} deep", kMostDepth));
  if (current().kind == TokenKind::kData) {
    Node* node = make(NodeKind::kData);
    node->constant = Value::of(syntax_.keep(current().text));
    ++at_;
    body.push_back(node);
    return {};
  }
  if (current().kind == TokenKind::kVariableBegin) {
    Node* node = make(NodeKind::kOutput);
    ++at_;
    node->left = TRY(tuple());
    TRY(expect(TokenKind::kVariableEnd, "end of print statement"));
    body.push_back(node);
    return {};
  }
  TRY(expect(TokenKind::kBlockBegin, "a statement"));
  if (current().kind != TokenKind::kName) return unexpected("a tag's name");
  const std::string word = current().text;
  ++at_;
  Node* node = make(NodeKind::kScope);
  if (word == "if") {
    TRY(if_statement(*node));
  } else if (word == "for") {
    TRY(for_statement(*node));
  } else if (word == "set") {
    TRY(set_statement(*node));
  } else if (word == "macro") {
    TRY(macro_statement(*node));
  } else if (word == "call") {
    TRY(call_statement(*node));
  } else if (word == "with") {
    TRY(with_statement(*node));
  } else if (word == "filter") {
    TRY(filter_statement(*node));
  } else if (word == "break" || word == "continue") {
    if (n_loops_ == 0) return fail("'" + word + "' outside of a loop");
    node->kind = word == "break" ? NodeKind::kBreak : NodeKind::kContinue;
  } else if (word == "print") {
    node->kind = NodeKind::kOutput;
    node->left = TRY(tuple());
  } else if (word == "generation" || word == "block" || word == "autoescape") {
    TRY(scope_statement(*node, word));
  } else if (word == "include" || word == "import" || word == "extends" || word == "from") {
    TRY(refused_statement(*node, word));
  } else {
    return at_line(node->line, "encountered unknown tag '" + word.substr(0, 40) + "'");
  }
  TRY(expect(TokenKind::kBlockEnd, "end of statement block"));
  body.push_back(node);
  return {};
}

/// Statements up to a tag that begins with one of `ends`; stops on that word.
Status Parser::body_until(Body& body, Words ends) {
  TRY(expect(TokenKind::kBlockEnd, "end of statement block"));
  for (;;) {
    if (current().kind == TokenKind::kEnd) {
      return fail(fmt::format("unexpected end of template, looking for '{}'", fmt::join(ends, "' or '")));
    }
    if (current().kind == TokenKind::kBlockBegin && ahead().kind == TokenKind::kName &&
        std::ranges::find(ends, ahead().text) != ends.end()) {
      ++at_;
      return {};
    }
    TRY(statement(body));
  }
}

/// A body that ends with the one word of `ends`, which is skipped.
Status Parser::block_body(Node& node, Words ends) {
  node.bodies.emplace_back();
  TRY(body_until(node.bodies.back(), ends));
  ++at_;
  return {};
}

Status Parser::if_statement(Node& node) {
  node.kind = NodeKind::kIf;
  for (;;) {
    node.children.push_back(TRY(tuple(false)));
    node.bodies.emplace_back();
    TRY(body_until(node.bodies.back(), {"elif", "else", "endif"}));
    if (!skip_name("elif")) break;
  }
  if (skip_name("else")) {
    node.bodies.emplace_back();
    TRY(body_until(node.bodies.back(), {"endif"}));
  }
  return expect_name("endif");
}

Status Parser::for_statement(Node& node) {
  node.kind = NodeKind::kFor;
  node.name = syntax_.id_of("loop");
  node.left = TRY(target(true, false));
  TRY(expect_name("in"));
  node.right = TRY(tuple(false, false, {"recursive"}));
  if (skip_name("if")) node.third = TRY(expression());
  node.flag = skip_name("recursive");
  ++n_loops_;
  node.bodies.resize(2);
  TRY(body_until(node.bodies[0], {"endfor", "else"}));
  --n_loops_;
  if (skip_name("else")) TRY(body_until(node.bodies[1], {"endfor"}));
  return expect_name("endfor");
}

Result<Node*> Parser::target_name(bool with_namespace) {
  if (current().kind != TokenKind::kName) return unexpected("a name");
  static constexpr std::array<std::string_view, 5> kReserved = {"true", "false", "none", "True", "None"};
  if (std::ranges::find(kReserved, current().text) != kReserved.end())
    return fail("can't assign to '" + current().text + "'");
  Node* node = make(NodeKind::kName);
  node->name = syntax_.id_of(current().text);
  ++at_;
  if (!with_namespace || !is_operator(".")) return node;
  ++at_;
  if (current().kind != TokenKind::kName) return unexpected("a name");
  Node* attribute = make(NodeKind::kAttribute);
  attribute->left = node;
  attribute->constant = Value::of(syntax_.keep(current().text));
  ++at_;
  return attribute;
}

Result<Node*> Parser::target(bool with_tuple, bool with_namespace) {
  const Level level(*this);
  if (level.is_too_deep()) return fail("too many parentheses");
  const auto one = [&]() -> Result<Node*> {
    if (!skip_operator("(")) return target_name(with_namespace);
    Node* inner = TRY(target(true, with_namespace));
    TRY(expect_operator(")"));
    return inner;
  };
  Node* first = TRY(one());
  if (!with_tuple || !is_operator(",")) return first;
  Node* node = make(NodeKind::kTuple);
  node->children.push_back(first);
  while (skip_operator(",")) {
    if (current().kind != TokenKind::kName && !is_operator("(")) break;
    if (is_name("in")) break;
    node->children.push_back(TRY(one()));
  }
  return finish(node);
}

Status Parser::set_statement(Node& node) {
  node.left = TRY(target(true, true));
  if (skip_operator("=")) {
    node.kind = NodeKind::kSet;
    node.right = TRY(tuple());
    return {};
  }
  node.kind = NodeKind::kSetBlock;
  node.right = make(NodeKind::kBody);
  if (is_operator("|")) {
    Node* filtered = make(NodeKind::kBody);
    while (skip_operator("|")) filtered = TRY(filter(filtered));
    node.right = filtered;
  }
  return block_body(node, {"endset"});
}

Status Parser::parameters(Node& node) {
  TRY(expect_operator("("));
  while (!is_operator(")")) {
    if (!node.parameters.empty()) TRY(expect_operator(","));
    if (is_operator(")")) break;
    Node* name = TRY(target_name(false));
    Parameter parameter{.name = name->name};
    if (skip_operator("=")) {
      parameter.initial = TRY(expression());
    } else if (!node.parameters.empty() && node.parameters.back().initial != nullptr) {
      return fail("non-default argument follows default argument");
    }
    node.parameters.push_back(parameter);
  }
  return expect_operator(")");
}

Status Parser::macro_statement(Node& node) {
  node.kind = NodeKind::kMacro;
  Node* name = TRY(target_name(false));
  node.name = name->name;
  node.constant = Value::of(std::string_view(syntax_.names[node.name]));
  TRY(parameters(node));
  Node* outer = std::exchange(macro_, &node);
  const int outer_loops = std::exchange(n_loops_, 0);
  TRY(block_body(node, {"endmacro"}));
  macro_ = outer;
  n_loops_ = outer_loops;
  return {};
}

Status Parser::call_statement(Node& node) {
  node.kind = NodeKind::kCallBlock;
  node.name = syntax_.id_of("caller");
  node.constant = Value::of(std::string_view("caller"));
  if (is_operator("(")) TRY(parameters(node));
  Node* call = TRY(expression());
  if (call->kind != NodeKind::kCall) return at_line(node.line, "expected call");
  node.right = call;
  Node* outer = std::exchange(macro_, &node);
  const int outer_loops = std::exchange(n_loops_, 0);
  TRY(block_body(node, {"endcall"}));
  macro_ = outer;
  n_loops_ = outer_loops;
  return {};
}

Status Parser::with_statement(Node& node) {
  node.kind = NodeKind::kWith;
  while (current().kind != TokenKind::kBlockEnd) {
    if (!node.children.empty()) TRY(expect_operator(","));
    node.children.push_back(TRY(target(false, false)));
    TRY(expect_operator("="));
    node.children.push_back(TRY(expression()));
  }
  return block_body(node, {"endwith"});
}

Status Parser::filter_statement(Node& node) {
  node.kind = NodeKind::kFilterBlock;
  Node* filtered = make(NodeKind::kBody);
  do {
    filtered = TRY(filter(filtered));
  } while (skip_operator("|"));
  node.right = filtered;
  return block_body(node, {"endfilter"});
}

Status Parser::scope_statement(Node& node, std::string_view keyword) {
  node.kind = NodeKind::kScope;
  if (keyword == "autoescape") TRY(expression());
  if (keyword == "block") {
    if (current().kind != TokenKind::kName) return unexpected("a name");
    ++at_;
    while (is_name("scoped") || is_name("required")) ++at_;
  }
  const std::string end = "end" + std::string(keyword);
  TRY(block_body(node, {end}));
  if (keyword == "block" && current().kind == TokenKind::kName) ++at_;
  return {};
}

/// There is only one template, so those that name others fail where they stand.
Status Parser::refused_statement(Node& node, std::string_view keyword) {
  node.kind = NodeKind::kRefuse;
  node.constant =
      Value::of(syntax_.keep("'" + std::string(keyword) + "': a chat template cannot read other templates"));
  while (current().kind != TokenKind::kBlockEnd && current().kind != TokenKind::kEnd) ++at_;
  return {};
}

}  // namespace commissure::jinja
