#include "ctl/failure.hpp"

#include <cerrno>
#include <new>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_interface.hpp"
#include "varlink/client.hpp"
#include "varlink/protocol.hpp"

namespace vmad::ctl {
namespace {

Failure remote_failure(const varlink::RemoteError& error) {
    const auto& parameters = error.parameters();
    const auto text = [&](const char* field) {
        const auto found = parameters.find(field);
        return found != parameters.end() && found->is_string() ? found->get<std::string>() : std::string("?");
    };
    if (error.name() == api::kNoSuchJobError)
        return {ExitCode::no_such_job,
                fmt::format("no job {}: it does not exist, or it finished long ago",
                            parameters.value("id", nlohmann::json()).dump()),
                {}};
    if (error.name() == api::kNoSuchPathError)
        return {ExitCode::no_such_job, fmt::format("no job for {}", text("path")), {}};
    if (error.name() == api::kPathRefusedError)
        return {ExitCode::usage, fmt::format("{} cannot be queued: {}", text("path"), text("reason")), {}};
    if (error.name() == api::kJobHasEndedError)
        return {ExitCode::failed,
                fmt::format("job {} has already finished: {}",
                            parameters.value("id", nlohmann::json()).dump(), text("state")),
                {}};
    if (error.name() == api::kInvalidSettingsError)
        return {ExitCode::failed,
                fmt::format("invalid settings, keeping the current ones: {}", text("reason")),
                {}};
    if (error.name() == api::kFailedError) return {ExitCode::failed, text("reason"), {}};
    if (error.name() == varlink::permission_denied().name())
        return {ExitCode::failed, "permission denied: only root may control the daemon", {}};
    return {ExitCode::failed, error.what(), {}};
}

}  // namespace

Failure current_failure() {
    try {
        throw;
    } catch (const base::Cancelled&) {
        throw;
    } catch (const base::FormatError& error) {
        return {ExitCode::invalid, error.what(), error.offset(), error.rule()};
    } catch (const base::InvalidArchive& error) {
        return {ExitCode::invalid, error.what(), {}, error.rule()};
    } catch (const base::Unsupported& error) {
        return {ExitCode::invalid, error.what(), {}};
    } catch (const base::UsageError& error) {
        return {ExitCode::usage, error.what(), {}};
    } catch (const varlink::Unreachable& error) {
        return {ExitCode::unreachable,
                fmt::format(
                    "cannot reach the daemon: {}; is it running? Try \"systemctl start vmad\", and \"vmactl "
                    "settings check\" if that fails",
                    error.what()),
                {}};
    } catch (const varlink::Disconnected& error) {
        return {ExitCode::unreachable, error.what(), {}};
    } catch (const varlink::TimedOut& error) {
        return {ExitCode::timed_out, error.what(), {}};
    } catch (const varlink::RemoteError& error) {
        return remote_failure(error);
    } catch (const std::system_error& error) {
        const bool of_thread = error.code() == std::errc::resource_unavailable_try_again;
        return {ExitCode::failed,
                of_thread ? fmt::format("cannot start a thread: {}", error.what()) : error.what(),
                {}};
    } catch (const std::bad_alloc&) {
        return {ExitCode::failed, "out of memory", {}};
    } catch (const std::exception& error) {
        return {ExitCode::failed, error.what(), {}};
    }
}

ExitCode report_failure(Console& console, const std::string& archive) {
    const auto failure = current_failure();
    nlohmann::json more{{"exit_code", static_cast<int>(failure.code)}};
    if (!archive.empty()) more["path"] = archive;
    if (!failure.rule.empty()) more["rule"] = failure.rule;
    if (failure.offset) more["offset"] = *failure.offset;
    // Every other message names the file that it is about.
    const bool about_content = failure.code == ExitCode::invalid && !archive.empty();
    console.error(about_content ? fmt::format("{}: {}", archive, failure.message) : failure.message, more);
    return failure.code;
}

}  // namespace vmad::ctl
