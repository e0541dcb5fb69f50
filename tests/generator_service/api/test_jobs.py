"""POST, GET, list, cancel and delete, on a store that the tests drive as workers would."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Event, Semaphore

import pytest

from generator_service.contract.job import JobPage, JobStatus, JobView, Stage
from generator_service.jobs.queues import PLAN_QUEUE
from generator_service.storage import JobKeys
from shared.errors import OutOfMemory, Unavailable


def test_a_prompt_is_accepted_persisted_and_queued_for_planning(api, wait_until):
    answer = api.http.post("/jobs", json={"prompt": "  a red car  ", "seed": 7, "metadata": {"order": "12"}})

    assert answer.status_code == 202
    job = JobView.model_validate_json(answer.content)
    assert answer.headers["location"] == f"/jobs/{job.id}"
    assert re.fullmatch("[0-9a-f]{32}", job.id)
    assert (job.status, job.stage, job.planner) == (JobStatus.QUEUED, Stage.PLANNING, "auto")
    assert (job.prompt, job.settings.seed, job.steps, job.metadata) == ("a red car", 7, 25, {"order": "12"})
    assert (job.queue_position, job.urls, job.seconds_left, job.error) == (0, None, None, None)

    record = api.parts.store.get(job.id)
    assert record.prompt == "a red car"
    assert api.parts.store.positions([record]) == (0,)
    wait_until(lambda: api.parts.tickets.queue(PLAN_QUEUE).count == 1)


def test_a_plan_of_ones_own_skips_planning(api, plan, wait_until):
    answer = api.http.post("/jobs", json={"plan": plan.model_dump(mode="json")})

    job = JobView.model_validate_json(answer.content)
    assert (job.stage, job.planner, job.prompt) == (Stage.SAMPLING, None, plan.prompt)
    assert api.parts.store.plan(job.id) == plan
    assert {queue: count for queue, count in api.parts.store.count_waiting().items() if count} == {
        "render.emoji-world": 1
    }
    wait_until(lambda: api.parts.tickets.queue("render.emoji-world").count == 1)


def test_a_refused_job_leaves_nothing(api):
    assert api.http.post("/jobs", json={"prompt": "x", "frames": 10}).status_code == 422
    assert sum(api.parts.store.counts().values()) == 0
    assert set(api.parts.store.count_waiting().values()) == {0}


def test_a_job_without_a_ticket_waits_all_the_same(api, monkeypatch):
    def silent(_: str) -> None:
        raise Unavailable("Redis does not answer")

    monkeypatch.setattr(api.parts.tickets, "add", silent)
    job = api.submit()
    assert api.http.get(f"/jobs/{job}").json()["queue_position"] == 0


def test_a_list_asks_for_all_places_at_once(api, text_client):
    jobs = [api.submit() for _ in range(5)]
    api.start(jobs[0])
    listed = api.http.get("/jobs").json()["jobs"]
    assert [job["queue_position"] for job in listed] == [3, 2, 1, 0, None]


def test_a_look_at_a_job_needs_no_thread(api, monkeypatch):
    """Also while the lists that others ask for hold all threads there are."""
    threads = 40  # anyio's
    held, go_on = Semaphore(0), Event()
    listed = api.parts.store.list

    def slow_list(**wish):
        held.release()
        assert go_on.wait(20)
        return listed(**wish)

    job = api.submit()
    monkeypatch.setattr(api.parts.store, "list", slow_list)
    with ThreadPoolExecutor(threads) as pool:
        lists = [pool.submit(api.http.get, "/jobs") for _ in range(threads)]
        try:
            assert all(held.acquire(timeout=20) for _ in range(threads))
            assert api.http.get(f"/jobs/{job}", timeout=5).json()["id"] == job
        finally:
            go_on.set()
    assert {answer.result().status_code for answer in lists} == {200}


def test_the_answer_hides_storage_keys_and_dates_are_utc(api):
    job = api.http.get(f"/jobs/{api.submit()}").json()
    assert "results" not in job
    assert datetime.fromisoformat(job["created_at"]).utcoffset().total_seconds() == 0


def test_the_place_in_the_queue_counts_the_jobs_before(api):
    ids = [api.submit() for _ in range(3)]
    assert [api.http.get(f"/jobs/{job}").json()["queue_position"] for job in ids] == [0, 1, 2]
    api.start(ids[0])
    assert api.http.get(f"/jobs/{ids[0]}").json()["queue_position"] is None


def test_a_failed_job_is_answered_with_200_and_its_error(api):
    job = api.submit()
    api.start(job)
    api.parts.store.fail(job, OutOfMemory("needs 3 GiB more"), worker="w1")

    answer = api.http.get(f"/jobs/{job}")
    assert answer.status_code == 200
    assert answer.json()["status"] == "failed"
    assert answer.json()["error"] == {"code": "out_of_memory", "message": "needs 3 GiB more", "retryable": False}


def test_pages_follow_each_other_newest_first(api):
    ids = [api.submit() for _ in range(5)][::-1]

    first = JobPage.model_validate_json(api.http.get("/jobs", params={"limit": 2}).content)
    second = JobPage.model_validate_json(api.http.get("/jobs", params={"limit": 2, "after": first.next}).content)
    third = JobPage.model_validate_json(api.http.get("/jobs", params={"limit": 2, "after": second.next}).content)

    assert [[job.id for job in page.jobs] for page in (first, second, third)] == [ids[:2], ids[2:4], ids[4:]]
    assert [page.next for page in (first, second, third)] == [ids[1], ids[3], None]


def test_the_last_page_that_is_just_full_has_no_next(api):
    for _ in range(2):
        api.submit()
    page = api.http.get("/jobs", params={"limit": 2}).json()
    assert (len(page["jobs"]), page["next"]) == (2, None)


def test_a_job_deleted_at_this_moment_does_not_end_the_list(api, text_client):
    oldest, middle, newest = (api.submit() for _ in range(3))
    text_client.delete(f"job:{newest}")  # its place in the index was read just before
    first = api.http.get("/jobs", params={"limit": 2}).json()
    second = api.http.get("/jobs", params={"limit": 2, "after": first["next"]}).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == [middle, oldest]


def test_lists_can_be_narrowed_to_a_status(api):
    running, _ = api.submit(), api.submit()
    api.start(running)
    assert [job["id"] for job in api.http.get("/jobs", params={"status": "running"}).json()["jobs"]] == [running]
    assert api.http.get("/jobs", params={"status": "failed"}).json() == {"jobs": [], "next": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("status=done", "status"),
        ("after=1", "after"),
    ],
)
def test_a_wrong_query_names_its_field(api, problem, query, field):
    found = problem(api.http.get(f"/jobs?{query}"), 422, "invalid_request")
    assert [violation.field for violation in found.violations] == [field]


def test_an_unknown_after_is_not_found(api, problem):
    problem(api.http.get("/jobs", params={"after": "0" * 32}), 404, "not_found")


def test_a_queued_job_is_canceled_at_once_and_twice_does_no_harm(api):
    job = api.submit()
    for _ in range(2):
        answer = api.http.post(f"/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


def test_a_running_job_is_canceling_until_its_worker_confirms(api):
    job = api.submit()
    api.start(job)
    assert [api.http.post(f"/jobs/{job}/cancel").json()["status"] for _ in range(2)] == ["canceling", "canceling"]
    api.parts.store.confirm_cancel(job, worker="w1")
    assert api.http.post(f"/jobs/{job}/cancel").json()["status"] == "canceled"


def test_cancel_leaves_an_ended_job_as_it_is(api):
    job = api.submit()
    api.start(job)
    api.finish(job)
    answer = api.http.post(f"/jobs/{job}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


def test_delete_removes_record_and_plan_of_this_job_alone_and_leaves_its_files_to_the_cleanup(api, monkeypatch):
    kept, gone = api.submit(), api.submit()
    for job in (kept, gone):
        api.start(job)
        api.finish(job)

    asked: list[str] = []
    monkeypatch.setattr(api.parts.objects, "delete_prefix", asked.append)  # it may hang
    answer = api.http.delete(f"/jobs/{gone}")

    assert (answer.status_code, answer.content, asked) == (204, b"", [])
    assert api.http.get(f"/jobs/{gone}").status_code == 404
    assert api.http.delete(f"/jobs/{gone}").status_code == 404
    assert api.parts.store.leftovers()[gone] is None
    assert api.parts.objects.get(JobKeys(kept).video)
    assert [job["id"] for job in api.http.get("/jobs").json()["jobs"]] == [kept]


@pytest.mark.parametrize(
    "prompt", ["7", "\U0001f697", "ein Auto", "\u732b", "a\tred\r\ncar", "\U0001f468\u200d\U0001f680 waves"]
)
def test_what_says_something_is_a_prompt(api, prompt):
    assert api.http.get(f"/jobs/{api.submit(prompt=prompt)}").json()["prompt"] == prompt


@pytest.mark.parametrize("status", ["queued", "running", "canceling"])
def test_a_job_that_has_not_ended_is_not_deleted(api, problem, status):
    job = api.submit()
    if status != "queued":
        api.start(job)
    if status == "canceling":
        api.parts.store.cancel(job)

    found = problem(api.http.delete(f"/jobs/{job}"), 409, "conflict")
    assert status in found.detail
    assert api.parts.store.get(job).status == status


@pytest.mark.parametrize("ending", ["", "/content", "/plan", "/preview", "/manifest", "/events"])
def test_unknown_jobs_are_not_found(api, problem, ending):
    problem(api.http.get(f"/jobs/{'0' * 32}{ending}"), 404, "not_found")


@pytest.mark.parametrize("job", ["1", "0" * 33, "G" * 32, "%00", "..%2f..", "ü"])
def test_what_is_no_id_is_refused(api, job):
    assert api.http.get(f"/jobs/{job}").status_code in (404, 422)
    assert api.http.post(f"/jobs/{job}/cancel").status_code in (404, 422)
