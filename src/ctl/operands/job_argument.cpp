#include "ctl/operands/job_argument.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include "api/queue_interface.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/text/job_text.hpp"
#include "varlink/protocol.hpp"

namespace vmad::ctl {

std::optional<std::uint64_t> job_id_from(const std::string& word) {
    std::uint64_t id = 0;
    const auto* end = word.data() + word.size();
    const auto [rest, error] = std::from_chars(word.data(), end, id);
    if (error != std::errc() || rest != end) return std::nullopt;
    return id;
}

std::vector<std::uint64_t> job_ids_from(const Context& context, api::QueueClient& daemon,
                                        const std::vector<std::string>& words) {
    std::vector<std::uint64_t> ids;
    std::map<std::string, std::vector<std::size_t>> places;  ///< of a path in `ids`
    for (const auto& word : words) {
        const auto id = job_id_from(word);
        if (!id)
            places[absolute_path(archive_name(context.fs, context.console, word).path)].push_back(ids.size());
        ids.push_back(id.value_or(0));
    }
    if (places.empty()) return ids;
    std::map<std::string, std::uint64_t> latest;
    for (const auto& job : daemon.list({}))
        if (places.contains(job.path)) latest[job.path] = job.id;
    for (const auto& [path, positions] : places) {
        if (!latest.contains(path)) throw api::no_such_path(path);
        for (const auto position : positions) ids[position] = latest[path];
    }
    return ids;
}

api::Job job_or_latest_of_guest(api::QueueClient& daemon, std::uint64_t id) {
    try {
        return daemon.show(id);
    } catch (const varlink::RemoteError& error) {
        if (error.name() != api::kNoSuchJobError) throw;
        const auto jobs = daemon.list({});
        const auto latest =
            std::find_if(jobs.rbegin(), jobs.rend(), [&](const api::Job& job) { return job.vmid == id; });
        if (latest == jobs.rend()) throw;
        return *latest;
    }
}

ExitCode for_each_job(Context& context, const std::vector<std::uint64_t>& ids,
                      const std::function<api::Job(std::uint64_t id)>& call,
                      const std::function<std::string(std::uint64_t id, const api::Job&)>& text) {
    auto code = ExitCode::done;
    for (const auto id : ids) {
        std::optional<api::Job> job;
        try {
            job = call(id);
        } catch (const varlink::RemoteError&) {
            code = worse(code, report_failure(context.console));
        }
        if (job && context.options.json) print_json(context.console, *job);
        if (job && !context.options.json) context.console.print(text(id, *job));
    }
    return code;
}

}  // namespace vmad::ctl
