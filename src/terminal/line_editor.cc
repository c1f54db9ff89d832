#include "terminal/line_editor.h"

#include <fmt/format.h>
#include <histedit.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string_view>
#include <utility>
#include <vector>

namespace commissure {

namespace {

constexpr std::size_t kShownPaste = 200;  ///< bytes of one line that are put into the line as they are
constexpr std::string_view kPasteEnd = "\033[201~";

/// Bytes of standard input, several at a time. Nothing is lost between two lines: one editor reads all.
class Input {
 public:
  /// -1 at the end, or after a signal.
  int next() {
    if (place_ == held_.size()) {
      held_.resize(4096);
      const ssize_t n = ::read(STDIN_FILENO, held_.data(), held_.size());
      held_.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
      place_ = 0;
      if (n <= 0) return -1;
    }
    return static_cast<unsigned char>(held_[place_++]);
  }

 private:
  std::string held_;
  std::size_t place_ = 0;
};

}  // namespace

std::string shown_paste(const std::string& text, std::size_t n_before) {
  const auto n_lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  if (n_lines == 1 && text.size() <= kShownPaste) return text;
  const auto n_characters =
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  return fmt::format("[pasted{}: {} line{}, {} characters]", n_before == 0 ? "" : fmt::format(" {}", n_before + 1),
                     n_lines, n_lines == 1 ? "" : "s", n_characters);
}

struct LineEditor::Impl {
  explicit Impl(std::string text) : prompt(std::move(text)) {
    if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
    editor = el_init("commissure", stdin, stdout, stderr);
    past = history_init();
    HistEvent event;
    history(past, &event, H_SETSIZE, 1000);
    history(past, &event, H_SETUNIQUE, 1);
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &Impl::show_prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, past);
    el_set(editor, EL_GETCFN, &Impl::read_character);
    el_set(editor, EL_SETTY, "-d", "-isig", nullptr);  // Ctrl-C is a key while a line is edited
    add_key("commissure-interrupt", L"commissure-interrupt", &Impl::on_interrupt, "^C");
    add_key("commissure-suspend", L"commissure-suspend", &Impl::on_suspend, "^Z");
    add_key("commissure-paste", L"commissure-paste", &Impl::on_paste, "\033[200~");
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    el_set(editor, EL_BIND, "\033[1~", "ed-move-to-beg", nullptr);
    el_set(editor, EL_BIND, "\033[4~", "ed-move-to-end", nullptr);
    el_set(editor, EL_BIND, "\033[3~", "ed-delete-next-char", nullptr);
  }
  ~Impl() {
    el_end(editor);
    history_end(past);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// libedit keeps the wide name as it is, so it must live for ever; of a narrow one it makes a copy that it never
  /// frees.
  void add_key(const char* name, const wchar_t* wide_name, unsigned char (*run)(EditLine*, int), const char* key) {
    el_wset(editor, EL_ADDFN, wide_name, L"", run);
    el_set(editor, EL_BIND, key, name, nullptr);
  }

  static Impl& of(EditLine* editor) {
    void* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return *static_cast<Impl*>(self);
  }

  static char* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }

  /// One character of UTF-8. What is none is left out.
  static int read_character(EditLine* editor, wchar_t* character) {
    Input& input = of(editor).input;
    for (;;) {
      const int first = input.next();
      if (first < 0) return errno == EINTR ? -1 : 0;
      const int n_more = first < 0x80 ? 0 : first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : -1;
      if (n_more < 0 || first >= 0xf8) continue;
      char32_t code_point =
          n_more == 0 ? static_cast<char32_t>(first) : static_cast<char32_t>(first & (0x3f >> n_more));
      for (int i = 0; i < n_more; ++i) {
        const int next = input.next();
        if (next < 0) return 0;
        code_point = code_point << 6 | static_cast<char32_t>(next & 0x3f);
      }
      *character = static_cast<wchar_t>(code_point);
      return 1;
    }
  }

  static unsigned char on_interrupt(EditLine* editor, int) {
    const LineInfo* line = el_line(editor);
    of(editor).dropped.assign(line->buffer, line->lastchar);
    of(editor).interrupted = true;
    std::fputs("^C", stdout);
    return CC_EOF;
  }

  static unsigned char on_suspend(EditLine* editor, int) {
    el_set(editor, EL_PREP_TERM, 0);
    of(editor).bracket(false);
    std::raise(SIGTSTP);
    of(editor).bracket(true);
    el_set(editor, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
  }

  static unsigned char on_paste(EditLine* editor, int) {
    Impl& self = of(editor);
    std::string text;
    for (int c = self.input.next(); c >= 0; c = self.input.next()) {
      text.push_back(static_cast<char>(c));
      if (!text.ends_with(kPasteEnd)) continue;
      text.resize(text.size() - kPasteEnd.size());
      break;
    }
    std::ranges::replace(text, '\r', '\n');
    while (text.ends_with('\n')) text.pop_back();
    std::erase_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t'; });
    const std::string shown = shown_paste(text, self.pastes.size());
    if (shown != text) self.pastes.emplace_back(shown, text);
    return el_insertstr(editor, shown.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  /// Whether the terminal puts marks around what is pasted.
  static void bracket(bool on) {
    std::fputs(on ? "\033[?2004h" : "\033[?2004l", stdout);
    std::fflush(stdout);
  }

  /// With what was pasted in the place of what stands for it.
  std::string expanded(std::string text) const {
    for (const auto& [shown, pasted] : pastes) {
      if (const auto place = text.find(shown); place != std::string::npos) text.replace(place, shown.size(), pasted);
    }
    return text;
  }

  EditLine* editor;
  History* past;
  std::string prompt;
  Input input;
  std::vector<std::pair<std::string, std::string>> pastes;  ///< how each is shown, and all of it
  bool interrupted = false;
  std::string dropped;  ///< what Ctrl-C dropped
};

LineEditor::LineEditor(std::string prompt) {
  if (isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0) impl_ = std::make_unique<Impl>(std::move(prompt));
}

LineEditor::~LineEditor() = default;

LineEditor::Line LineEditor::read() {
  Line line;
  if (!impl_) {
    if (std::getline(std::cin, line.text)) line.end = End::kLine;
    return line;
  }
  impl_->interrupted = false;
  el_resize(impl_->editor);  // the window may have changed since
  Impl::bracket(true);
  int n = 0;
  const char* typed = el_gets(impl_->editor, &n);
  Impl::bracket(false);
  if (impl_->interrupted) {
    std::fputc('\n', stdout);
    el_reset(impl_->editor);
    line.end = End::kInterrupted;
    line.text = impl_->dropped;
    return line;
  }
  if (typed == nullptr || n <= 0) return line;
  line.end = End::kLine;
  line.text.assign(typed, static_cast<std::size_t>(n));
  while (line.text.ends_with('\n')) line.text.pop_back();
  if (!line.text.empty()) {
    HistEvent event;
    history(impl_->past, &event, H_ENTER, line.text.c_str());
  }
  line.text = impl_->expanded(std::move(line.text));
  return line;
}

}  // namespace commissure
