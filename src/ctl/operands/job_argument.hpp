// Jobs as a command line names them, by id or by the path of their archive, and what is done with each.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"

namespace vmad::ctl {

/// The id, when the word has only digits; a file of that name is "./17".
[[nodiscard]] std::optional<std::uint64_t> job_id_from(const std::string& word);

/// An id for each word. A path or volume id means its latest job; when it has none, the error is the daemon's
/// NoSuchPath. Throws what archive_name, absolute_path and QueueClient throw, before anything is changed.
[[nodiscard]] std::vector<std::uint64_t> job_ids_from(const Context& context, api::QueueClient& daemon,
                                                      const std::vector<std::string>& words);

/// The job with this id; when there is none, the latest job of the guest with this VMID. Throws what
/// QueueClient throws, among it NoSuchJob.
[[nodiscard]] api::Job job_or_latest_of_guest(api::QueueClient& daemon, std::uint64_t id);

/// For each id: calls the daemon by `call`, and prints the job that it returns, as JSON or as `text` writes
/// it (which gets the id too). A refusal of the daemon is reported, and the others are done all the same.
[[nodiscard]] ExitCode for_each_job(
    Context& context, const std::vector<std::uint64_t>& ids,
    const std::function<api::Job(std::uint64_t id)>& call,
    const std::function<std::string(std::uint64_t id, const api::Job&)>& text);

}  // namespace vmad::ctl
