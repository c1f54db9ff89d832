#include "measure/metrics_text.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace commissure {

namespace {

/// Reads {name="value",...} at the front of `rest` and removes it. False when it is malformed.
bool take_labels(std::string_view& rest, MetricsText::Labels& labels) {
  if (!rest.starts_with('{')) return true;
  rest.remove_prefix(1);
  while (!rest.starts_with('}')) {
    const auto equals = rest.find("=\"");
    if (equals == std::string_view::npos) return false;
    const std::string name(rest.substr(0, equals));
    rest.remove_prefix(equals + 2);
    std::string value;
    while (!rest.empty() && rest.front() != '"') {
      const bool is_escaped = rest.front() == '\\' && rest.size() > 1;
      if (is_escaped) rest.remove_prefix(1);
      value += is_escaped && rest.front() == 'n' ? '\n' : rest.front();
      rest.remove_prefix(1);
    }
    if (rest.empty()) return false;
    labels[name] = value;
    rest.remove_prefix(1);
    if (rest.starts_with(',')) rest.remove_prefix(1);
  }
  rest.remove_prefix(1);
  return true;
}

bool includes(const MetricsText::Labels& all, const MetricsText::Labels& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& label) {
    const auto it = all.find(label.first);
    return it != all.end() && it->second == label.second;
  });
}

}  // namespace

MetricsText::MetricsText(std::string_view page) {
  while (!page.empty()) {
    std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    const auto end = line.find_first_of("{ \t");
    if (line.empty() || line.front() == '#' || end == std::string_view::npos) continue;
    Sample sample{std::string(line.substr(0, end)), {}, 0};
    line.remove_prefix(end);
    if (!take_labels(line, sample.labels)) continue;
    const std::string number(line);
    char* number_end = nullptr;
    sample.value = std::strtod(number.c_str(), &number_end);  // knows "+Inf" and "NaN" too
    if (number_end != number.c_str()) samples_.push_back(std::move(sample));
  }
}

double MetricsText::sum(std::string_view name, const Labels& labels) const {
  double total = 0;
  for (const Sample& sample : samples_) {
    if (sample.name == name && includes(sample.labels, labels)) total += sample.value;
  }
  return total;
}

bool MetricsText::has(std::string_view name) const {
  return std::ranges::any_of(samples_, [&](const Sample& sample) { return sample.name == name; });
}

std::map<double, double> MetricsText::buckets(const std::string& name, const Labels& labels) const {
  std::map<double, double> found;
  for (const Sample& sample : samples_) {
    const auto bound = sample.labels.find("le");
    if (sample.name != name + "_bucket" || bound == sample.labels.end() || !includes(sample.labels, labels)) continue;
    found[std::strtod(bound->second.c_str(), nullptr)] += sample.value;
  }
  return found;
}

std::optional<double> histogram_quantile(const std::map<double, double>& before, const std::map<double, double>& now,
                                         double q) {
  const auto count = [&](double bound) {
    const auto b = before.find(bound);
    return now.at(bound) - (b == before.end() ? 0 : b->second);
  };
  if (now.empty()) return std::nullopt;
  const double total = count(now.rbegin()->first);
  if (!(total > 0)) return std::nullopt;
  double low = 0, below = 0;
  for (const auto& [bound, unused] : now) {
    const double reached = count(bound);
    if (reached >= q * total) {
      if (bound == std::numeric_limits<double>::infinity()) return low;
      return reached > below ? low + (bound - low) * (q * total - below) / (reached - below) : bound;
    }
    low = bound;
    below = reached;
  }
  return low;
}

}  // namespace commissure
