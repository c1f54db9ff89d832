#include "measure/load_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <string_view>

namespace commissure {

namespace {

constexpr double kShares[] = {0.5, 0.9, 0.99};

bool is_good(const RequestRecord& record, const GoodputLimits& limits) {
  const auto within = [](double seconds, std::optional<double> limit_ms) {
    return !limit_ms || seconds * 1000 <= *limit_ms;
  };
  return record.ok() && within(record.first, limits.ttft) && within(record.per_token(), limits.tpot) &&
         within(record.last, limits.e2el);
}

std::vector<LatencySeries> make_series(const LoadResult& result) {
  std::vector<LatencySeries> series = {{"ttft", "Time to first token", {}},
                                       {"tpot", "Time per output token (after the first)", {}},
                                       {"itl", "Inter-token latency", {}},
                                       {"e2el", "End-to-end latency", {}}};
  for (const RequestRecord& record : result.records) {
    if (!record.ok()) continue;
    series[0].ms.push_back(record.first * 1000);
    if (record.output_tokens > 1) series[1].ms.push_back(record.per_token() * 1000);
    for (const double gap : record.gaps) series[2].ms.push_back(gap * 1000);
    series[3].ms.push_back(record.last * 1000);
  }
  for (LatencySeries& one : series) std::sort(one.ms.begin(), one.ms.end());
  return series;
}

/// Milliseconds in at most nine columns.
std::string short_ms(double value, int digits) { return fmt::format("{:.{}f}", value, value < 10000 ? digits : 0); }

std::string problems_text(const LoadReport& report) {
  std::string text;
  for (const auto& [problem, n] : report.problems)
    text += fmt::format("\nFailed {}: {}", n == 1 ? "once" : fmt::format("{} times", n), problem);
  if (!report.problems.empty()) text += '\n';
  return text;
}

}  // namespace

Result<GoodputLimits> parse_goodput(const std::string& text) {
  GoodputLimits limits;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const auto colon = part.find(':');
    const std::string_view name = part.substr(0, colon);
    const std::string_view number = colon == std::string_view::npos ? "" : part.substr(colon + 1);
    double ms = 0;
    const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), ms);
    std::optional<double>* limit = name == "ttft"   ? &limits.ttft
                                   : name == "tpot" ? &limits.tpot
                                   : name == "e2el" ? &limits.e2el
                                                    : nullptr;
    if (limit == nullptr || problem != std::errc() || end != number.data() + number.size() || !(ms > 0)) {
      return Error(Code::kInvalidArgument, "--goodput: \"", std::string(part),
                   "\" is not NAME:MILLISECONDS with ttft, tpot or e2el, e.g. ttft:200,tpot:50");
    }
    *limit = ms;
  }
  return limits;
}

double percentile(std::span<const double> sorted, double q) {
  if (sorted.empty()) return 0;
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double LatencySeries::mean() const {
  return ms.empty() ? 0 : std::accumulate(ms.begin(), ms.end(), 0.0) / static_cast<double>(ms.size());
}

LoadReport make_report(const LoadResult& result, const GoodputLimits& limits) {
  LoadReport report;
  report.seconds = result.seconds;
  std::map<std::string, int> problems;
  int n_good = 0;
  for (const RequestRecord& record : result.records) {
    if (!record.ok()) {
      ++report.failed;
      ++problems[record.problem];
      continue;
    }
    ++report.completed;
    report.input_tokens += record.prompt_tokens;
    report.output_tokens += record.output_tokens;
    report.max_late_ms = std::max(report.max_late_ms, record.late * 1000);
    n_good += is_good(record, limits);
  }
  if (limits.any()) report.goodput = report.per_second(n_good);
  report.series = make_series(result);
  report.problems.assign(problems.begin(), problems.end());
  return report;
}

std::string report_text(const LoadReport& report) {
  std::string text;
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("{:<42}{:>12}\n", name, value);
  };
  const auto rate = [](double value) { return fmt::format("{:.2f}", value); };
  line("Successful requests", std::to_string(report.completed));
  line("Failed requests", std::to_string(report.failed));
  line("Duration (s)", rate(report.seconds));
  line("Input tokens", std::to_string(report.input_tokens));
  line("Generated tokens", std::to_string(report.output_tokens));
  line("Request throughput (req/s)", rate(report.per_second(report.completed)));
  if (report.goodput) line("Request goodput (req/s)", rate(*report.goodput));
  line("Output token throughput (tok/s)", rate(report.per_second(static_cast<double>(report.output_tokens))));
  line("Total token throughput (tok/s)",
       rate(report.per_second(static_cast<double>(report.input_tokens + report.output_tokens))));
  text += fmt::format("\n{:<40}{:>10}{:>10}{:>10}{:>10}\n", "Latency (ms)", "mean", "p50", "p90", "p99");
  for (const LatencySeries& series : report.series) {
    text += fmt::format("{:<40}{:>10}", series.title, short_ms(series.mean(), 2));
    for (const double share : kShares) text += fmt::format("{:>10}", short_ms(percentile(series.ms, share), 2));
    text += '\n';
  }
  text += problems_text(report);
  if (report.max_late_ms > 100) {
    text += fmt::format(
        "\nRequests left up to {:.0f} ms after their time: all connections were busy; raise --concurrency\n",
        report.max_late_ms);
  }
  return text;
}

Json report_json(const LoadReport& report) {
  Json json = {
      {"duration", report.seconds},
      {"completed", report.completed},
      {"failed", report.failed},
      {"total_input_tokens", report.input_tokens},
      {"total_output_tokens", report.output_tokens},
      {"request_throughput", report.per_second(report.completed)},
      {"request_goodput", report.goodput ? Json(*report.goodput) : Json(nullptr)},
      {"output_throughput", report.per_second(static_cast<double>(report.output_tokens))},
      {"total_token_throughput", report.per_second(static_cast<double>(report.input_tokens + report.output_tokens))},
      {"max_send_delay_ms", report.max_late_ms}};
  for (const LatencySeries& series : report.series) {
    json[fmt::format("mean_{}_ms", series.key)] = series.mean();
    json[fmt::format("median_{}_ms", series.key)] = percentile(series.ms, 0.5);
    for (const double share : kShares)
      json[fmt::format("p{:.0f}_{}_ms", share * 100, series.key)] = percentile(series.ms, share);
  }
  Json problems = Json::object();
  for (const auto& [problem, n] : report.problems) problems[problem] = n;
  json["problems"] = std::move(problems);
  return json;
}

std::string sweep_text(const std::vector<SweepPoint>& points) {
  std::string text = fmt::format("{:>7}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n", "streams", "requests", "tok/s",
                                 "TTFT p50", "TTFT p99", "ITL p50", "ITL p99", "E2E p50", "E2E p99");
  for (const auto& [streams, report] : points) {
    const auto ms = [&series = report.series](std::size_t i, double share) {
      return short_ms(percentile(series[i].ms, share), 1);
    };
    text += fmt::format("{:>7}{:>9}{:>9.1f}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n", streams, report.completed,
                        report.per_second(static_cast<double>(report.output_tokens)), ms(0, 0.5), ms(0, 0.99),
                        ms(2, 0.5), ms(2, 0.99), ms(3, 0.5), ms(3, 0.99));
  }
  text += "Latencies in milliseconds\n";
  for (const SweepPoint& point : points) text += problems_text(point.report);
  return text;
}

Json sweep_json(const std::vector<SweepPoint>& points) {
  Json list = Json::array();
  for (const SweepPoint& point : points) {
    list.push_back(report_json(point.report));
    list.back()["streams"] = point.streams;
  }
  return {{"sweep", std::move(list)}};
}

}  // namespace commissure
