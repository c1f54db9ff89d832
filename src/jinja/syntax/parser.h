#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/syntax/lexer.h"
#include "jinja/syntax/syntax.h"

namespace commissure::jinja {

/// Tokens to nodes by recursive descent; the grammar is Jinja2's own parser's.
/// Source: jinja2/parser.py, version 3.1.
class Parser {
 public:
  Parser(std::vector<Token> tokens, Syntax& syntax) : tokens_(std::move(tokens)), syntax_(syntax) {}

  Status run();

 private:
  using Expression = Result<Node*>;
  using Words = std::initializer_list<std::string_view>;

  // parse_expression.cc
  Expression expression(bool with_choice = true);
  Expression tuple(bool with_choice = true, bool explicit_parentheses = false, Words ends = {});
  Expression disjunction();
  Expression conjunction();
  Expression negation();
  Expression comparison();
  Expression sum();
  Expression concat();
  Expression product();
  Expression power();
  Expression unary(bool with_filter = true);
  Expression primary();
  Node* constant(const Value& value);
  Node* name();
  Expression integer();
  Expression decimal();
  Expression list();
  Expression dict();
  Expression postfix(Node* node);
  Expression filters_and_tests(Node* node);
  Result<std::string> dotted_name(std::string_view what);
  Expression filter(Node* node);
  Expression test(Node* node);
  Expression subscript(Node* node);
  Result<const Node*> slice_part();
  Status arguments(Node& node);
  Expression joined(NodeKind kind, Node* left, const Node* right);
  Expression binary(Op op, Node* left, const Node* right);

  // parser.cc
  Status statement(Body& body);
  Status body_until(Body& body, Words ends);
  Status block_body(Node& node, Words ends);
  Status if_statement(Node& node);
  Status for_statement(Node& node);
  Status set_statement(Node& node);
  Status macro_statement(Node& node);
  Status call_statement(Node& node);
  Status with_statement(Node& node);
  Status filter_statement(Node& node);
  Status scope_statement(Node& node, std::string_view keyword);
  Status refused_statement(Node& node, std::string_view keyword);
  Status parameters(Node& node);
  Result<Node*> target(bool with_tuple, bool with_namespace);
  Result<Node*> target_name(bool with_namespace);

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  bool is_operator(std::string_view text) const;
  bool is_name(std::string_view text) const;
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  Status expect_operator(std::string_view text);
  Status expect_name(std::string_view text);
  Status expect(TokenKind kind, std::string_view what);
  Error fail(std::string_view message) const { return at_line(current().line, message); }
  Error unexpected(std::string_view wanted = {}) const;

  Node* make(NodeKind kind);
  /// Sets the depth of a node from what it holds. Errors: too deep.
  Expression finish(Node* node, std::initializer_list<const Node*> parts = {});

  /// One level of the parser's own recursion.
  struct Level;
  friend struct Level;

  std::vector<Token> tokens_;
  Syntax& syntax_;
  std::size_t at_ = 0;
  int level_ = 0;
  Node* macro_ = nullptr;  ///< the macro whose body is read
  int n_loops_ = 0;
};

struct Parser::Level {
  explicit Level(Parser& parser) : parser(parser) { ++parser.level_; }
  ~Level() { --parser.level_; }
  bool is_too_deep() const { return parser.level_ > kMostDepth; }
  Parser& parser;
};

}  // namespace commissure::jinja
