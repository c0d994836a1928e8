#include "ctl/text/job_table.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/quantity.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/text_table.hpp"

namespace vmad::ctl {
namespace {

using Align = TextTable::Align;

std::optional<std::uint64_t> size_of(const api::Job& job) {
    return job.size_after ? job.size_after : job.size_before;
}

}  // namespace

std::string job_table(const std::vector<api::Job>& jobs, std::int64_t now, const Console& console) {
    if (jobs.empty()) return {};
    // Before an archive was read nobody knows its size, and its name needs the room.
    const bool sized = std::any_of(jobs.begin(), jobs.end(), size_of);
    std::vector<TextTable::Column> columns{
        {"ID", Align::right}, {"VMID", Align::right}, {"STATE"}, {"WHEN", Align::right}};
    if (sized) columns.push_back({"SIZE", Align::right});
    columns.push_back({"ARCHIVE", Align::left, true});
    TextTable table(std::move(columns));
    for (const auto& job : jobs) {
        std::vector<TextTable::Cell> row{{fmt::format("{}", job.id)},
                                         {vmid_text(job)},
                                         {api::to_string(job.state), colour_of(job.state)},
                                         {when_text(job, now)}};
        if (sized) row.push_back({size_of(job) ? base::format_size(*size_of(job)) : ""});
        row.push_back({file_name(job)});
        table.add(std::move(row));
        table.add_note(job.reason);
    }
    return table.render(console);
}

}  // namespace vmad::ctl
