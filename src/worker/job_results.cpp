#include "worker/job_results.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "publish/archive_target.hpp"
#include "publish/replace_file.hpp"
#include "repack/in_place.hpp"
#include "verify/source_check.hpp"
#include "worker/space_refusal.hpp"

namespace vmad::worker {
namespace {

using api::JobState;
using api::WaitReason;
using api::WorkerResult;

/// Errors of the storage or of a moment, which may be gone the next time. Others will be the same again.
bool is_transient(int error_number) {
    static constexpr std::array kTransient{
        EIO,   ESTALE,     ETIMEDOUT,    EAGAIN,    ENOMEM,   EMFILE,       ENFILE,      EBUSY,     ENOLCK,
        EROFS, ECONNRESET, ECONNREFUSED, EHOSTDOWN, ENOTCONN, EHOSTUNREACH, ENETUNREACH, EREMOTEIO, EINTR};
    return std::find(kTransient.begin(), kTransient.end(), error_number) != kTransient.end();
}

}  // namespace

WorkerResult failed(const std::string& reason) { return {.state = JobState::failed, .reason = reason}; }

WorkerResult refused(const std::string& reason, const std::string& version) {
    auto result = failed(reason);
    result.refused_file = version;
    return result;
}

WorkerResult waits(WaitReason what, const std::string& reason) {
    return {.state = JobState::waiting, .waiting_for = what, .reason = reason};
}

WorkerResult is_locked() { return waits(WaitReason::locked, "another process is working on the archive"); }

WorkerResult result_of_failure(const std::string& version) {
    try {
        throw;
    } catch (const base::Cancelled&) {
        return {.state = JobState::queued};
    } catch (const repack::NoSpaceForCopy& error) {
        auto result = waits(WaitReason::space, "");
        result.space_refusal = {.directory = error.directory(),
                                .free_bytes = error.free_bytes(),
                                .written_bytes = error.written_bytes()};
        result.reason = reason_of(*result.space_refusal, error.size_bytes(), error.what());
        return result;
    } catch (const io::NoSpace& error) {
        return waits(WaitReason::space, error.what());
    } catch (const publish::StorageMissing& error) {
        return waits(WaitReason::storage, error.what());
    } catch (const base::SystemError& error) {
        return is_transient(error.number()) ? waits(WaitReason::retry, error.what()) : failed(error.what());
    } catch (const publish::Irreplaceable& error) {
        return refused(error.what(), publish::file_version(error.file()));
    } catch (const base::InvalidArchive& error) {
        auto result = refused(error.verdict(), version);
        result.damaged = true;
        return result;
    } catch (const verify::ReadsDiffer& error) {
        auto result = waits(WaitReason::retry, error.what());
        // Outlives the attempts that follow: what they read twice alike may be what was bad here.
        result.warning = fmt::format("In an earlier attempt, {}", error.what());
        return result;
    } catch (const base::Unsupported& error) {
        return refused(error.what(), version);
    } catch (const base::Error& error) {
        return failed(error.what());
    } catch (const std::system_error& error) {
        return waits(WaitReason::retry, fmt::format("cannot start a thread: {}", error.what()));
    } catch (const std::bad_alloc&) {
        return waits(WaitReason::retry, "out of memory");
    }
}

}  // namespace vmad::worker
