#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace commissure {

/// The samples of a Prometheus text page. Lines that are no sample are left out, so any server's page can be read.
/// Source: Prometheus' exposition format 0.0.4.
class MetricsText {
 public:
  using Labels = std::map<std::string, std::string>;

  MetricsText() = default;
  explicit MetricsText(std::string_view page);

  /// The sum of the samples of `name` whose labels include `labels`; 0 when there is no such sample.
  double sum(std::string_view name, const Labels& labels = {}) const;

  bool has(std::string_view name) const;

  /// A histogram's buckets: upper bound (infinity last) to cumulative count, samples with equal bounds added up.
  std::map<double, double> buckets(const std::string& name, const Labels& labels = {}) const;

 private:
  struct Sample {
    std::string name;
    Labels labels;
    double value;
  };
  std::vector<Sample> samples_;
};

/// The value below which the share `q` (0 to 1) of the observations between two states of a histogram lies, linear
/// inside a bucket; nothing when there were no observations. For a value in the last bucket, which has no upper bound,
/// its lower bound.
std::optional<double> histogram_quantile(const std::map<double, double>& before, const std::map<double, double>& now,
                                         double q);

}  // namespace commissure
